/* Preloaded into user-mode Linux, so that it runs on CPUs whose register state it does not know.
 *
 * User-mode Linux 6.1 writes a task's vector registers with PTRACE_SETREGSET (NT_X86_XSTATE) from a
 * buffer whose size was fixed when it was built. The host takes a whole XSAVE area only, and answers
 * EFAULT where the CPU has more (AMX: 11 KiB); the guest's first process then dies. Here the part
 * that the guest knows is laid over the whole area.
 */
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { AREA_MAX = 1 << 16 }; /* octets; the largest XSAVE area of today takes 11 KiB */

static long set_xstate(pid_t pid, void *kind, const struct iovec *known)
{
  static char area[AREA_MAX];
  struct iovec whole = {area, sizeof area};

  if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, kind, &whole) < 0)
    return -1;
  if (known->iov_len >= whole.iov_len)
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kind, known);
  memcpy(area, known->iov_base, known->iov_len);
  return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
  va_list rest;
  va_start(rest, request);
  pid_t pid = va_arg(rest, pid_t);
  void *address = va_arg(rest, void *);
  void *data = va_arg(rest, void *);
  va_end(rest);

  if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
    return set_xstate(pid, address, data);
  if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
    /* The system call stores the word; the C library returns it. */
    long word;
    long failed = syscall(SYS_ptrace, request, pid, address, &word);
    if (failed < 0)
      return failed;
    errno = 0;
    return word;
  }
  return syscall(SYS_ptrace, request, pid, address, data);
}
