/*
 * The seccomp programs of the sandbox process and the gofer. (The stub's own is hand-written BPF in
 * sentry/platform/: libseccomp cannot test the instruction pointer.)
 */
#ifndef MOAT_FILTER_FILTER_H
#define MOAT_FILTER_FILTER_H

#include <stdbool.h>

enum filter_network {
	FILTER_NO_NETWORK,
	FILTER_LINKS,	     /* over packet sockets that it was given */
	FILTER_HOST_SOCKETS, /* it makes sockets of TCP and UDP */
};

/* Installs the filter on the calling process, for all its threads. no_new_privs must be set.
 * Violations kill the process. traces: it traces its stubs instead of answering their seccomp
 * notifications. 0 or -errno. */
int filter_install_sandbox(bool traces, enum filter_network network);
int filter_install_gofer(void);
int filter_install_resolver(void);

#endif
