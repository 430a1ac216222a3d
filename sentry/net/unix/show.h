/* AF_UNIX sockets as /proc/net/unix shows them. */
#ifndef MOAT_SENTRY_NET_UNIX_SHOW_H
#define MOAT_SENTRY_NET_UNIX_SHOW_H

struct text;

void unix_registry_show(struct text *out);

#endif
