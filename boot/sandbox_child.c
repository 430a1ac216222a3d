/*
 * The sandbox process, from its first instruction to loader_main(): gives up everything that it was
 * born with. It stands in new user, pid, mount, network, ipc, uts and cgroup namespaces, as uid
 * nobody (rootless: the caller's uid), without capabilities, in an empty read-only root.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "boot/link.h"
#include "boot/sandbox.h"
#include "filter/filter.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/kernel/task.h"
#include "sentry/platform/platform.h"

#define NOBODY 65534

static void fail(int link, const char *what, int err) __attribute__((noreturn));
static void fail(int link, const char *what, int err)
{
	char text[200];

	snprintf(text, sizeof(text), "cannot start the sandbox: %s: %s", what, strerror(-err));
	link_send(link, LINK_ERROR, EXIT_MOAT_FAILED, text);
	_exit(1);
}

static int drop_privileges(bool rootless)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {0};

	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
			return -errno;
	if (!rootless) {
		if (setgroups(0, NULL) || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) ||
		    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY))
			return -errno;
	}
	if (capset(&header, none))
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -errno;
	/* The stubs are forked from here and must stay readable by the sentry: credential changes
	 * clear this flag. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -errno;
	return 0;
}

static int num_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return CPU_COUNT(&set);
}

void sandbox_child_main(const struct sandbox_spec *spec, int link, const int *gofer_fds, int ngofer)
{
	struct platform_config config = {
		.name = spec->platform,
		.num_cpus = num_cpus(),
		.direct_mm = spec->direct_mm,
		.on_death = kernel_on_stub_death,
	};
	struct rlimit no_core = {0, 0};
	struct link_message msg;
	int keep[160], n = 0, ret;

	setsid();
	prctl(PR_SET_NAME, "moat-sentry");
	keep[n++] = link;
	keep[n++] = spec->log_fd;
	for (int i = 0; i < 3; i++)
		keep[n++] = spec->stdio[i];
	for (int i = 0; i < ngofer; i++)
		keep[n++] = gofer_fds[i];
	isolate_close_fds(keep, n);

	ret = link_receive(link, &msg);
	if (ret || msg.kind != LINK_GO)
		_exit(1);
	setrlimit(RLIMIT_CORE, &no_core);
	config.proc_fd = isolate_open_proc();
	if (config.proc_fd < 0)
		fail(link, "procfs", config.proc_fd);
	ret = isolate_root();
	if (ret)
		fail(link, "empty root", ret);
	ret = drop_privileges(spec->rootless);
	if (ret)
		fail(link, "dropping privileges", ret);

	crash_report_install();
	/* One arena: the sentry's allocations are small, and an arena per thread costs memory. */
	mallopt(M_ARENA_MAX, 2);
	ret = platform_init(&config);
	if (ret)
		fail(link, "platform", ret);
	ret = hostfd_init();
	if (ret)
		fail(link, "standard input and output", ret);
	ret = filter_install_sandbox();
	if (ret)
		fail(link, "seccomp filter", ret);
	loader_main(spec, link, gofer_fds, ngofer);
}
