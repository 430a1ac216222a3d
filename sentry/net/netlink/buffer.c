/* Writing netlink messages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/netlink/netlink_internal.h"

/* Room for n more bytes, zeroed; NULL when there is none. */
static void *reserve(struct nl_buf *b, size_t n)
{
	void *at;

	if (b->error)
		return NULL;
	if (b->len + n > (b->dump ? NL_DUMP_MAX : NL_BUF_MAX)) {
		b->error = -EMSGSIZE;
		return NULL;
	}
	if (b->len + n > b->size) {
		size_t size = MAX(b->size * 2, (size_t)1024);
		char *data;

		while (size < b->len + n)
			size *= 2;
		data = realloc(b->data, size);
		if (!data) {
			b->error = -ENOBUFS;
			return NULL;
		}
		b->data = data;
		b->size = size;
	}
	at = b->data + b->len;
	memset(at, 0, n);
	b->len += n;
	return at;
}

void nl_begin(struct nl_buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint32_t portid)
{
	struct nlmsghdr *hdr;

	b->msg = b->len;
	hdr = reserve(b, NLMSG_HDRLEN);
	if (hdr)
		*hdr = (struct nlmsghdr){.nlmsg_type = type,
					 .nlmsg_flags = flags,
					 .nlmsg_seq = seq,
					 .nlmsg_pid = portid};
}

void nl_put(struct nl_buf *b, const void *data, size_t len)
{
	void *at = reserve(b, NLMSG_ALIGN(len));

	if (at)
		memcpy(at, data, len);
}

void nl_attr(struct nl_buf *b, uint16_t type, const void *data, size_t len)
{
	struct rtattr attr = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = type};
	char *at = reserve(b, RTA_SPACE(len));

	if (!at)
		return;
	memcpy(at, &attr, sizeof(attr));
	memcpy(at + RTA_LENGTH(0), data, len);
}

void nl_end(struct nl_buf *b)
{
	uint32_t len = (uint32_t)(b->len - b->msg);

	if (!b->error)
		memcpy(b->data + b->msg, &len, sizeof(len));
}
