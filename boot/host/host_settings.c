/* Probes of settings: sysctls, limits, mounts. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"
#include "boot/host/host_probe.h"

/* The first line of a file, without its end; false if it cannot be read. */
static bool read_line(const char *path, char *line, size_t n)
{
	int __close_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, line, n - 1);

	if (got < 0)
		return false;
	line[got] = 0;
	line[strcspn(line, "\n")] = 0;
	return true;
}

/* A sysctl that is a number; `fallback` where there is none. */
static long sysctl_number(const char *path, long fallback)
{
	char line[64];

	return read_line(path, line, sizeof(line)) ? strtol(line, NULL, 10) : fallback;
}

bool probe_yama(char *detail, size_t n)
{
	long scope = sysctl_number("/proc/sys/kernel/yama/ptrace_scope", -1);

	if (scope < 0)
		snprintf(detail, n, "no Yama");
	else
		snprintf(detail, n, "kernel.yama.ptrace_scope=%ld", scope);
	return scope <= 1;
}

bool probe_new_privileges(char *detail, size_t n)
{
	bool given_up = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;

	if (given_up)
		snprintf(detail, n, "no_new_privs is set");
	return !given_up;
}

bool probe_cgroups(char *detail, size_t n)
{
	struct statfs fs, unified;
	bool two = !statfs("/sys/fs/cgroup", &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
	bool hybrid = !statfs("/sys/fs/cgroup/unified", &unified) &&
		      unified.f_type == CGROUP2_SUPER_MAGIC;
	char line[256];
	bool any = read_line("/proc/self/cgroup", line, sizeof(line)) && line[0];

	snprintf(detail, n, "%s",
		 two	  ? "version 2"
		 : hybrid ? "versions 1 and 2"
		 : any	  ? "version 1, or not mounted"
			  : "none");
	return two || hybrid || any;
}

bool probe_cpus(char *detail, size_t n)
{
	int cpus = host_cpus();

	snprintf(detail, n, "%d", cpus);
	return cpus > 1;
}

static bool probe_limit(int resource, rlim_t wanted, char *detail, size_t n)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return false;
	if (limit.rlim_max == RLIM_INFINITY)
		snprintf(detail, n, "no limit");
	else
		snprintf(detail, n, "limit %llu", (unsigned long long)limit.rlim_max);
	return geteuid() == 0 || limit.rlim_max >= wanted;
}

bool probe_open_files(char *detail, size_t n)
{
	return probe_limit(RLIMIT_NOFILE, 16384, detail, n);
}

bool probe_processes(char *detail, size_t n)
{
	return probe_limit(RLIMIT_NPROC, 1024, detail, n);
}

bool probe_overcommit(char *detail, size_t n)
{
	long mode = sysctl_number("/proc/sys/vm/overcommit_memory", 0);

	snprintf(detail, n, "vm.overcommit_memory=%ld", mode);
	return mode != 2;
}

bool probe_low_addresses(char *detail, size_t n)
{
	long lowest = sysctl_number("/proc/sys/vm/mmap_min_addr", 65536);

	snprintf(detail, n, "vm.mmap_min_addr=%ld", lowest);
	return lowest <= 65536;
}

bool probe_huge_pages(char *detail, size_t n)
{
	char line[128];

	if (!read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line)))
		return true;
	snprintf(detail, n, "%s", line);
	return !strstr(line, "[always]");
}

bool probe_io_uring(char *detail, size_t n)
{
	long disabled = sysctl_number("/proc/sys/kernel/io_uring_disabled", 0);

	if (disabled)
		snprintf(detail, n, "kernel.io_uring_disabled=%ld", disabled);
	return !disabled;
}

bool probe_proc(char *detail, size_t n)
{
	struct statfs fs;
	char line[256];

	if (statfs("/proc", &fs) || fs.f_type != PROC_SUPER_MAGIC) {
		snprintf(detail, n, "/proc is none");
		return false;
	}
	/* hidepid= hides others' processes only: nothing that moat looks for. */
	if (!read_line("/proc/1/stat", line, sizeof(line)))
		snprintf(detail, n, "hidepid is set: no matter");
	return true;
}

static bool has_flag(const char *path, unsigned long flag)
{
	struct statvfs fs;

	return !statvfs(path, &fs) && (fs.f_flag & flag);
}

bool probe_writable_root(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return !has_flag("/", ST_RDONLY);
}

bool probe_executable_tmp(char *detail, size_t n)
{
	(void)detail;
	(void)n;
	return !has_flag("/tmp", ST_NOEXEC);
}
