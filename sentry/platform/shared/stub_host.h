/* What all parts of the platform know of this host and of what is asked of them. */
#ifndef MOAT_SENTRY_PLATFORM_SHARED_STUB_HOST_H
#define MOAT_SENTRY_PLATFORM_SHARED_STUB_HOST_H

#include <sys/types.h>

#include "base/compiler.h"
#include "sentry/platform/platform.h"
#include "sentry/platform/shared/layout.h"

struct stub_host {
	struct platform_config config;
	uint32_t features; /* STUB_*: what the stubs may use of this host */
};
extern struct stub_host stub_host;

void stub_host_init(const struct platform_config *config);

/* Opens "PID/name" of the procfs: a descriptor or -errno. pid is a registered stub's, or 0: this
 * process. */
int stub_host_open_proc(pid_t pid, const char *name, int flags);
/* A stub that was not forked by another: the OOM killer may have it, if config says so. */
void stub_host_set_oom_score(pid_t pid);

#endif
