/* Parsers by themselves: TCP options, BPF programs, control messages, socket options. */
#include "../unit/netstack/chaos.h"
#include "base/bpf.h"
#include "netstack/tcp/tcp_internal.h"

static bool load(void *ctx, uint32_t off, uint32_t size, uint32_t *out)
{
	*out = off * 2654435761u;
	return off + (uint64_t)size <= 4096;
}

static uint8_t no_byte(struct chaos *c)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int levels[] = {SOL_SOCKET,  IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP,
				     IPPROTO_UDP, 255,	      263};
	static const struct bpf_ops ops = {load, NULL};
	struct chaos c = {.byte = no_byte};
	struct tcp_header h;
	struct bpf_prog *p;
	uint8_t buf[256];
	socklen_t len = sizeof(buf);
	int level, name;

	if (size < 4)
		return 0;
	tcp_parse_header(data, size, &h);
	for (int kind = 0; kind < 2; kind++)
		if (bpf_prog_create((const struct sock_filter *)data, size / 8, kind, &p) == 0) {
			bpf_run(p, &ops, NULL, 4096);
			bpf_prog_free(p);
		}
	level = levels[data[0] % (sizeof(levels) / sizeof(levels[0]))];
	name = data[1];
	chaos_open(&c, 1);
	if (level != SOL_SOCKET || name != SO_ATTACH_FILTER) {
		struct net_ep *eps[] = {c.listener4, c.udp6, c.raw, c.packet, c.ping};
		struct iovec iov = {buf, 16};
		struct net_msg m = {.iov = &iov,
				    .iovcnt = 1,
				    .control = (void *)(data + 2),
				    .controllen = size - 2};

		for (int i = 0; i < 5; i++) {
			net_ep_setsockopt(eps[i], level, name, data + 2, size - 2);
			len = sizeof(buf);
			net_ep_getsockopt(eps[i], level, name, buf, &len);
			m.name = (struct sockaddr *)(data + 2);
			m.namelen = size - 2 > 28 ? 28 : size - 2;
			net_ep_sendmsg(eps[i], &m, 0);
			net_ep_bind(eps[i], m.name, m.namelen);
			net_ep_connect(eps[i], m.name, m.namelen);
		}
	}
	chaos_close(&c);
	return 0;
}
