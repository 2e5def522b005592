/* A client of docs/dstm.x that shares nothing with ours: rpcgen's stubs over libtirpc.
 *
 * dstm_client NETID SERVER CLIENT6: pings, allocates, renews, queries and releases, one line each.
 */
#include <arpa/inet.h>
#include <netconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstm.h"

static void fail(CLIENT *client, const char *what)
{
    fprintf(stderr, "%s\n", client ? clnt_sperror(client, what) : clnt_spcreateerror(what));
    exit(1);
}

static dstm_lease show(CLIENT *client, const char *what, dstm_lease_res *result)
{
    char client6[INET6_ADDRSTRLEN], client4[INET_ADDRSTRLEN], tep6[INET6_ADDRSTRLEN];
    dstm_lease *lease;

    if (!result)
        fail(client, what);
    if (result->status != DSTM_OK) {
        fprintf(stderr, "%s: stat %d\n", what, result->status);
        exit(1);
    }
    lease = &result->dstm_lease_res_u.lease;
    inet_ntop(AF_INET6, lease->client6, client6, sizeof client6);
    inet_ntop(AF_INET, lease->client4, client4, sizeof client4);
    inet_ntop(AF_INET6, lease->tep6, tep6, sizeof tep6);
    printf("%s %s %s/%u tep6 %s lifetime %u t1 %u t2 %u mtu %u state %d\n", what, client6, client4,
           lease->prefix4_len, tep6, lease->lifetime, lease->t1, lease->t2, lease->mtu,
           lease->state);
    return *lease;
}

int main(int argc, char **argv)
{
    static char id[] = "libtirpc";
    struct netconfig *netid;
    dstm_alloc_args wish;
    dstm_ref_args about;
    dstm_lease_res *result;
    dstm_lease lease;
    dstm_stat *stat;
    CLIENT *client;

    if (argc != 4 || !(netid = getnetconfigent(argv[1])))
        return 2;
    client = clnt_tp_create(argv[2], DSTM_PROG, DSTM_V1, netid);
    if (!client)
        fail(NULL, "create");
    client->cl_auth = authunix_create_default();
    if (!dstm_null_1(NULL, client))
        fail(client, "null");

    memset(&wish, 0, sizeof wish);
    memset(&about, 0, sizeof about);
    if (inet_pton(AF_INET6, argv[3], wish.client6) != 1)
        return 2;
    memcpy(about.client6, wish.client6, sizeof about.client6);
    about.client_id.client_id_val = wish.client_id.client_id_val = id;
    about.client_id.client_id_len = wish.client_id.client_id_len = sizeof id - 1;
    about.want_lifetime = wish.want_lifetime = 600;

    result = dstm_allocate_1(&wish, client);
    if (result && result->status == DSTM_ECOOKIE) {
        wish.cookie.cookie_len = result->dstm_lease_res_u.cookie.cookie_len;
        wish.cookie.cookie_val = malloc(wish.cookie.cookie_len);
        memcpy(wish.cookie.cookie_val, result->dstm_lease_res_u.cookie.cookie_val,
               wish.cookie.cookie_len);
        printf("cookie %u\n", wish.cookie.cookie_len);
        result = dstm_allocate_1(&wish, client);
    }
    lease = show(client, "allocate", result);
    about.lease_id = lease.lease_id;
    show(client, "renew", dstm_renew_1(&about, client));
    show(client, "query", dstm_query_1(&about, client));
    if (!(stat = dstm_release_1(&about, client)))
        fail(client, "release");
    printf("release %d\n", *stat);
    show(client, "query", dstm_query_1(&about, client));
    auth_destroy(client->cl_auth);
    clnt_destroy(client);
    return 0;
}
