/*
 * The sandbox process, from its first instruction to loader_main(): gives up everything that it was
 * born with. It stands in new user, pid, mount, network, ipc, uts and cgroup namespaces, as uid
 * nobody (rootless: the caller's uid), without capabilities, in an empty read-only root; where the
 * host has no namespaces for us, in as little as can be had without (docs/SECURITY.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "base/host.h"
#include "base/log.h"
#include "boot/sandbox/keeper.h"
#include "boot/host/landlock.h"
#include "boot/sandbox/link.h"
#include "boot/loader/loader.h"
#include "boot/sandbox/sandbox.h"
#include "boot/host/spawn.h"
#include "filter/filter.h"
#include "sentry/counters/counters.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/platform/platform.h"

#define NOBODY 65534

static void fail_because(int link, const char *why) __attribute__((noreturn));
static void fail_because(int link, const char *why)
{
	char text[240];

	snprintf(text, sizeof(text), "cannot start the sandbox: %s (see 'moat check')", why);
	link_send(link, LINK_ERROR, EXIT_MOAT_FAILED, text);
	_exit(1);
}

static void fail(int link, const char *what, int err) __attribute__((noreturn));
static void fail(int link, const char *what, int err)
{
	char text[200];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(-err));
	fail_because(link, text);
}

/* What this process is to give up, and may keep. */
struct privileges {
	const struct sandbox_spec *spec;
	/* Yama's scope 2: only who has CAP_SYS_PTRACE reaches the memory of other processes. It is
	 * kept over those of our own user or pid namespace: the stubs. */
	bool keep_ptrace;
};

/* kernel.yama.ptrace_scope, 0 where there is no such thing. */
static int yama_scope(void)
{
	int __close_fd fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	char scope = '0';

	return fd < 0 || read(fd, &scope, 1) != 1 ? 0 : scope - '0';
}

static int drop_privileges(void *arg)
{
	const struct privileges *p = arg;
	const struct sandbox_spec *spec = p->spec;
	bool confined = spec->isolation == ISOLATION_NONE;
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct kept[2] = {0};

	if (p->keep_ptrace) {
		kept[0].permitted = kept[0].effective = 1u << CAP_SYS_PTRACE;
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
			return -errno;
	}
	/* Without CAP_SETPCAP the bounding set stays; nothing is executed here that it would give
	 * anything to. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL &&
		    !(confined && errno == EPERM))
			return -errno;
	/* EINVAL: a user namespace without nobody. EPERM: root, but not permitted to change. */
	if (!spec->rootless) {
		if (setgroups(0, NULL) || syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) ||
		    syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY)) {
			if (errno != EINVAL && !(confined && errno == EPERM))
				return -errno;
			log_warn("the sandbox keeps the caller's uid: %s", strerror(errno));
		}
	}
	if (syscall(SYS_capset, &header, kept))
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -errno;
	/* The stubs are forked from here and must stay readable by the sentry: credential changes
	 * clear this flag. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* With a keeper the parent is that, and its death this one's, too. */
	if ((!spec->detached || confined) && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -errno;
	return 0;
}

/* Namespaces of its own: a procfs of the pid namespace, an empty root, no privileges. */
static void isolate_fully(const struct sandbox_spec *spec, int link, int *proc_fd)
{
	struct privileges p = {.spec = spec};
	int scope = yama_scope(), ret;

	if (scope > 2)
		fail(link, "kernel.yama.ptrace_scope is 3; needed is 2 or less", -EPERM);
	p.keep_ptrace = scope == 2;
	*proc_fd = isolate_open_proc();
	ret = *proc_fd < 0 ? *proc_fd : isolate_root();
	/* AppArmor forbids an ordinary user's mounts, and /proc can be mounted in a user namespace
	 * only where nothing of it is hidden, as container engines do. */
	if (ret == -EPERM || ret == -EACCES) {
		log_info("the sandbox's namespaces are of no use: %s", strerror(-ret));
		link_send(link, LINK_CONFINED, 0, NULL);
		_exit(1);
	}
	if (ret)
		fail(link, *proc_fd < 0 ? "procfs" : "empty root", ret);
	ret = drop_privileges(&p);
	if (ret)
		fail(link, "dropping privileges", ret);
}

/* No namespaces: a keeper that ends all processes, Landlock or else an empty folder as root. The
 * procfs is the host's (or the container's that we are in). */
static void isolate_without_namespaces(const struct sandbox_spec *spec, int link, int *proc_fd)
{
	struct privileges p = {.spec = spec};
	struct landlock_place proc = {.writable = true};
	int scope = yama_scope(), ret;
	pid_t keeper;

	/* Scope 1 is for ancestors: the sentry is one of the stubs. */
	if (scope > 1)
		fail(link, "without namespaces kernel.yama.ptrace_scope must be 1 or less", -EPERM);
	*proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*proc_fd < 0)
		fail(link, "procfs", -errno);
	ret = keeper_split(drop_privileges, &p);
	if (ret)
		fail(link, "a second process", ret);
	keeper = getppid();
	if (!landlock_version()) {
		ret = isolate_chroot();
		if (ret)
			log_info("the sandbox keeps the root it has: %s", strerror(-ret));
	}
	ret = drop_privileges(&p);
	if (ret)
		fail(link, "dropping privileges", ret);
	if (getppid() != keeper)
		_exit(1);
	proc.fd = *proc_fd;
	ret = landlock_confine(&proc, 1);
	if (ret && ret != -EOPNOTSUPP)
		fail(link, "Landlock", ret);
}

/* --- the terminal ------------------------------------------------------------------------------
 */

static int winch_fd = -1;

static void on_winch(int sig)
{
	uint64_t one = 1;
	int saved = errno;
	ssize_t ignored = write(winch_fd, &one, sizeof(one));

	(void)ignored;
	errno = saved;
}

/* A terminal that was made for the container becomes that of this session: the host tells of a
 * change of its size by SIGWINCH. */
static int adopt_console(int fd)
{
	winch_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return winch_fd < 0 || ioctl(fd, TIOCSCTTY, 0) ? -errno : 0;
}

/* After the zygote was forked: the stubs get the signal, too, and have no such function. */
static int watch_console(void)
{
	struct sigaction sa = {.sa_handler = on_winch, .sa_flags = SA_RESTART};

	return winch_fd >= 0 && sigaction(SIGWINCH, &sa, NULL) ? -errno : 0;
}

/* --- start -------------------------------------------------------------------------------------
 */

static void close_inherited(const struct sandbox_spec *spec, int link, int control,
			    const int *gofer_fds, int ngofer)
{
	int keep[MAX_GOFER_FDS + 300], n = 0;

	keep[n++] = link;
	keep[n++] = control;
	keep[n++] = spec->log_fd;
	keep[n++] = spec->egress_log_fd;
	keep[n++] = spec->path_listener;
	keep[n++] = spec->abstract_listener;
	for (int i = 0; i < 3; i++)
		keep[n++] = spec->stdio[i];
	for (unsigned i = 0; i < spec->container.process.extra_files; i++)
		keep[n++] = spec->extra_fds[i];
	for (int i = 0; i < ngofer; i++)
		keep[n++] = gofer_fds[i];
	fds_close_others(keep, n);
	/* Whoever has started a container with a terminal waits for the end of its output. */
	if (spec->detached && spec->stdio[0] > STDERR_FILENO) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		if (null > STDERR_FILENO)
			close(null);
	}
}

/* Standard error is the guest's, which may close it, and its number may then be another file's. */
static void keep_log(void)
{
	int fd;

	if (log_fd() != STDERR_FILENO)
		return;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd >= 0)
		log_set_fd(fd);
}

/* Everything that the sandbox gives up; the platform in between, which needs some of it. */
static void isolate(const struct sandbox_spec *spec, int link)
{
	static const enum filter_network networks[] = {
		[NETWORK_NONE] = FILTER_NO_NETWORK,
		[NETWORK_SANDBOX] = FILTER_LINKS,
		[NETWORK_HOST] = FILTER_HOST_SOCKETS,
	};
	struct platform_config config = {
		.name = spec->platform,
		.num_cpus = host_cpus(),
		.without = spec->platform_without,
		.on_death = kernel_on_stub_death,
		.oom_spared = spec->oom_spared,
		.oom_score_adj = spec->container.process.oom_score_adj,
	};
	int ret;

	if (spec->isolation == ISOLATION_NONE)
		isolate_without_namespaces(spec, link, &config.proc_fd);
	else
		isolate_fully(spec, link, &config.proc_fd);
	crash_report_install();
	/* One arena: the sentry's allocations are small, and an arena per thread costs memory. */
	mallopt(M_ARENA_MAX, 2);
	ret = platform_init(&config);
	if (ret)
		fail_because(link, platform_problem());
	/* The stubs have been forked from what is dumpable. From here on the files of this process
	 * in procfs are root's: no way around "never executable" leads through /proc/self/mem. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		fail(link, "PR_SET_DUMPABLE", -errno);
	ret = hostfd_init();
	if (ret)
		fail(link, "standard input and output", ret);
	ret = watch_console();
	if (ret)
		fail(link, "terminal", ret);
	ret = filter_install_sandbox(platform_traces(), networks[spec->network]);
	if (ret)
		fail(link, "seccomp filter", ret);
}

static int exit_status_for(int error)
{
	return error == -ENOENT || error == -ENOTDIR  ? EXIT_NOT_FOUND
	       : error == -ENOMEM || error == -EAGAIN ? EXIT_MOAT_FAILED
						      : EXIT_NOT_EXECUTABLE;
}

static void run(const struct loader_args *args, int link) __attribute__((noreturn));
static void run(const struct loader_args *args, int link)
{
	struct control_error err = {.text = ""};
	struct loader *l;
	bool program = false;
	int status, ret = loader_new(args, &l, &err);

	if (!ret)
		ret = loader_run(l, &err, &program);
	if (ret) {
		link_send(link, LINK_ERROR, program ? exit_status_for(ret) : EXIT_MOAT_FAILED,
			  err.text);
		_exit(1);
	}
	link_send(link, LINK_CREATED, 0, platform_name());
	close(link);
	loader_wait_for_start_signal(l);
	status = loader_wait_exit(l);
	loader_destroy(l);
	/* The init of the pid namespace: every stub goes with it. Whoever waits for this process
	 * gets the status of the container. */
	_exit(status_from_wait(status));
}

void sandbox_child_main(const struct sandbox_spec *spec, int link, int control,
			const int *gofer_fds, int ngofer)
{
	struct loader_args args = {
		.id = spec->id ? spec->id : SANDBOX_DEFAULT_ID,
		.spec = &spec->container,
		.strace = spec->strace,
		.stats = spec->stats,
		.controller_fd = control,
		.listeners = {spec->path_listener, spec->abstract_listener},
		.token = spec->token,
		.owner = spec->owner,
		.device_fd = -1,
		.gofer_fds = gofer_fds,
		.ngofer = (unsigned)ngofer,
		.stdio_fds = {spec->stdio[0], spec->stdio[1], spec->stdio[2]},
		.extra_fds = spec->extra_fds,
		.num_cpus = spec->num_cpus,
		.memory_limit = spec->memory,
		.oom_spared = spec->oom_spared,
		.user_log_fd = -1,
		.links = spec->network == NETWORK_SANDBOX,
		.host_sockets = spec->network == NETWORK_HOST,
		.egress = spec->egress,
		.egress_log_fd = spec->egress_log_fd,
	};
	struct rlimit no_core = {0, 0};
	struct link_message msg;
	int ret;

	if (spec->cgroup)
		link_send(link, LINK_JOINED, spawn_enter_cgroup(spec), NULL);
	counters_init();
	setsid();
	prctl(PR_SET_NAME, "moat-sentry");
	close_inherited(spec, link, control, gofer_fds, ngofer);
	keep_log();
	ret = link_receive(link, &msg);
	if (ret || msg.kind != LINK_GO)
		_exit(1);
	setrlimit(RLIMIT_CORE, &no_core);
	if (spec->own_console) {
		ret = adopt_console(spec->stdio[0]);
		if (ret)
			fail(link, "terminal", ret);
	}
	args.winch_fd = winch_fd;
	isolate(spec, link);
	run(&args, link);
}
