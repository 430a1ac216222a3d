/* The packet socket on which netstack's benchmarks run it, beside the host's own stack. */
#ifndef MOAT_BENCH_PACKET_SOCKET_H
#define MOAT_BENCH_PACKET_SOCKET_H

/* An AF_PACKET socket on the calling namespace's "va", with virtio-net headers: the caller's.
 * -errno. It gets frames to netstack's address or to a group, not those of the Linux beside it. */
int packet_socket(void);

#endif
