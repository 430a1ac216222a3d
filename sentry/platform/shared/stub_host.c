#include "sentry/platform/shared/stub_host.h"

#include <asm/hwcap2.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/log.h"

struct stub_host stub_host;

void stub_host_init(const struct platform_config *config)
{
	unsigned a, b, c, d;

	stub_host.config = *config;
	stub_host.features = 0;
	if ((getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) &&
	    !(config->without & PLATFORM_WITHOUT_FSGSBASE))
		stub_host.features |= STUB_FSGSBASE;
	__cpuid(1, a, b, c, d);
	if (c & bit_OSXSAVE)
		stub_host.features |= STUB_XSAVE;
}

uint64_t platform_hwcap2(void)
{
	uint64_t hwcap2 = getauxval(AT_HWCAP2);

	if (!(stub_host.features & STUB_FSGSBASE))
		hwcap2 &= ~(uint64_t)HWCAP2_FSGSBASE;
	return hwcap2;
}

int stub_host_open_proc(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	if (pid)
		snprintf(path, sizeof(path), "%d/%s", pid, name);
	else
		snprintf(path, sizeof(path), "self/%s", name);
	fd = openat(stub_host.config.proc_fd, path, flags | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void stub_host_set_oom_score(pid_t pid)
{
	int __close_fd fd = -1;

	if (!stub_host.config.oom_spared)
		return;
	fd = stub_host_open_proc(pid, "oom_score_adj", O_WRONLY);
	if (fd < 0 || dprintf(fd, "%d", stub_host.config.oom_score_adj) < 0)
		log_warn("stub %d keeps the sentry's oom_score_adj: %s", pid,
			 strerror(fd < 0 ? -fd : errno));
}
