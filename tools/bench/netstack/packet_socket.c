#include "packet_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

int packet_socket(void)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int size = 16 << 20, err;
	struct sock_filter f[] = {
		{BPF_LD | BPF_B | BPF_ABS, 0, 0, 0}, {BPF_JMP | BPF_JSET | BPF_K, 2, 0, 1},
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 2}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 1},
		{BPF_RET | BPF_K, 0, 0, 0xffffffff}, {BPF_RET | BPF_K, 0, 0, 0}};
	struct sock_fprog prog = {6, f};
	struct packet_mreq mr = {.mr_type = PACKET_MR_PROMISC};

	if (fd < 0)
		return -errno;
	ll.sll_ifindex = mr.mr_ifindex = if_nametoindex("va");
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
	setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
