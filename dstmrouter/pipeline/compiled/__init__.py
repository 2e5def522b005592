"""The normal packet in one compiled pass; everything else is left to the numpy steps.

`kernels` are plain functions that Numba compiles, `views` what they work on, `forward` puts them
in front of `dstmrouter.pipeline.forward`. The numpy steps stay complete by themselves and are the
definition: a kernel handles a packet to the end, octet for octet as they would, or does not touch
it. So no verdict but those of forwarded packets is ever given here.
"""
