/*
 * The link: a SOCK_SEQPACKET pair between the process that starts a sandbox (the CLI) and the
 * sandbox, for as long as that takes; then they talk over the control connection. One fixed
 * structure per packet. The CLI treats what comes from the sandbox as hostile: sizes and values are
 * checked, text is printed with control characters replaced.
 */
#ifndef MOAT_BOOT_LINK_H
#define MOAT_BOOT_LINK_H

#include <stdbool.h>
#include <stdint.h>

enum link_kind {
	LINK_GO = 1,   /* CLI: your uid and gid maps are written */
	LINK_JOINED,   /* sandbox: it is in its control groups; value is 0 or -errno */
	LINK_CREATED,  /* sandbox: the root container exists; text is the platform. It closes the
			  link */
	LINK_ERROR,    /* sandbox: could not start; value is the CLI's exit status, text says why */
	LINK_CONFINED, /* sandbox: it has namespaces, but may not use them (AppArmor) */
};

struct link_message {
	uint32_t kind;
	int32_t value;
	char text[500]; /* NUL-terminated */
};

/* 0 or -errno. Receiving returns 0, -EPIPE at the end, -EAGAIN, -EPROTO for a malformed packet. */
int link_send(int fd, enum link_kind kind, int value, const char *text);
int link_receive(int fd, struct link_message *msg);

#endif
