/*
 * The seccomp programs of the sandbox process and the gofer. (The stub's own is hand-written BPF in
 * sentry/platform/: libseccomp cannot test the instruction pointer.)
 */
#ifndef MOAT_FILTER_FILTER_H
#define MOAT_FILTER_FILTER_H

/* Installs the filter on the calling process, for all its threads. no_new_privs must be set.
 * Violations kill the process. 0 or -errno. */
int filter_install_sandbox(void);
int filter_install_gofer(void);

#endif
