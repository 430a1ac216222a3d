#include "boot/sandbox/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int link_send(int fd, enum link_kind kind, int value, const char *text)
{
	struct link_message msg = {.kind = kind, .value = value};

	if (text)
		snprintf(msg.text, sizeof(msg.text), "%s", text);
	if (send(fd, &msg, sizeof(msg), MSG_NOSIGNAL) != sizeof(msg))
		return -errno;
	return 0;
}

int link_receive(int fd, struct link_message *msg)
{
	ssize_t n;

	do {
		n = recv(fd, msg, sizeof(*msg), MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (n != sizeof(*msg))
		return -EPROTO;
	msg->text[sizeof(msg->text) - 1] = 0;
	for (char *p = msg->text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return 0;
}
