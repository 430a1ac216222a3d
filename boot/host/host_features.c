/* The table. How each feature is found is in host_probe.c. */
#include "boot/host/host_features.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/compiler.h"
#include "base/host.h"
#include "boot/host/host_probe.h"
#include "sentry/platform/platform.h"

#define OLDEST_MAJOR 5
#define OLDEST_MINOR 10

const struct host_feature host_features[] = {
	/* the kernel and the CPU */
	{"linux", "5.10", "everything below rests on it", "sandboxes do not start", HOST_NO_START,
	 "run Linux 5.10 or newer", probe_linux, 0, 0},
	{"fsgsbase", "5.9", "stubs set the FS and GS base themselves",
	 "arch_prctl, a system call at each new thread and exec", HOST_SLOWER,
	 "no 'nofsgsbase' on the kernel's command line, and a CPU that has it (Intel from 2012, "
	 "AMD "
	 "from 2019; a virtual machine's may hide it)",
	 probe_fsgsbase, 0, PLATFORM_WITHOUT_FSGSBASE},
	{"seccomp-notify", "5.5",
	 "stubs tell the sentry of system calls, and it verifies their memory commands",
	 "the platform is ptrace: a system call costs tens of microseconds, all that a guest does "
	 "with memory and processes several times as much",
	 HOST_SLOWER,
	 "run Linux 5.5 or newer, and an outer seccomp filter that permits seccomp() and does not "
	 "ask for notifications itself",
	 probe_notify, 0, PLATFORM_WITHOUT_NOTIFICATIONS},
	{"sync-wake-up", "6.6", "a notification wakes its receiver on the same CPU",
	 "futexes; a slow system call costs 25 to 60 microseconds more while a CPU is idle",
	 HOST_SLOWER, "run Linux 6.6 or newer", probe_sync_wake_up, 0,
	 PLATFORM_WITHOUT_SYNC_WAKE_UP},
	{"wait-killable", "5.19", "a signal does not take back a notification that was received",
	 "it is asked for again", HOST_NOTHING, "run Linux 5.19 or newer", probe_wait_killable, 0,
	 PLATFORM_WITHOUT_WAIT_KILLABLE},
	{"direct-futex", "2.6.22", "a guest's own threads make its calls on private futexes",
	 "the sentry does: threads that wake each other are several times slower", HOST_SLOWER,
	 "an outer seccomp filter that permits futex", probe_direct_futex, 0,
	 PLATFORM_WITHOUT_DIRECT_FUTEX},
	{"process-vm", "3.2", "the sentry reads and writes the memory of stubs",
	 "/proc/PID/mem and /proc/PID/maps; every system call with a pointer costs tens of "
	 "microseconds more, more yet with thousands of mappings",
	 HOST_SLOWER,
	 "an outer seccomp filter that permits process_vm_readv and process_vm_writev (Docker's "
	 "from "
	 "version 22 on)",
	 probe_process_vm, 0, PLATFORM_WITHOUT_PROCESS_VM},
	{"ptrace", "3.4", "the platform of that name, which stands in where systrap cannot start",
	 "there is no second platform: no sandboxes without seccomp-notify", HOST_NOTHING,
	 "an outer seccomp filter that permits ptrace (Docker's from Linux 4.8 on), "
	 "kernel.yama.ptrace_scope of 0 or 1",
	 probe_ptrace, 0, 0},
	{"yama", "", "the sentry reaches the memory of stubs: kernel.yama.ptrace_scope of 0 or 1",
	 "2: the sentry keeps CAP_SYS_PTRACE over its own namespaces; 3: sandboxes do not start",
	 HOST_BOUNDARY, "sysctl kernel.yama.ptrace_scope=1 (3 stays until the next boot)",
	 probe_yama, 0, 0},
	{"pidfd", "5.3", "caller, gofer and sandbox see each other end", "sandboxes do not start",
	 HOST_NO_START, "run Linux 5.10 or newer", probe_pidfd, 0, 0},
	{"memfd-seals", "3.17", "nobody can change the text that all stubs execute",
	 "sandboxes do not start", HOST_NO_START, "CONFIG_MEMFD_CREATE", probe_memfd, 0, 0},
	{"clone3", "5.3", "nothing: clone() does, and a guest's clone3 is the sentry's",
	 "all is the same", HOST_NOTHING, "nothing to do", probe_clone3, 0, 0},
	/* files */
	{"openat2", "5.6", "host files are opened beneath their mount in one call",
	 "a walk, name by name, as safe; opening a deep path costs more", HOST_SLOWER,
	 "run Linux 5.6 or newer, and an outer seccomp filter that permits openat2", probe_openat2,
	 HOST_OPENAT2, 0},
	{"close-range", "5.9", "inherited descriptors are closed", "one by one", HOST_NOTHING,
	 "run Linux 5.9 or newer", probe_close_range, HOST_CLOSE_RANGE, 0},
	{"fsmount", "5.2", "a procfs of the sandbox's pid namespace that is in no tree",
	 "mounted for a moment in the sandbox's own mount namespace", HOST_NOTHING,
	 "run Linux 5.2 or newer", probe_fsmount, HOST_FSMOUNT, 0},
	{"open-tree", "5.2", "the roots of mounts are detached clones",
	 "bind mounts in the gofer's own mount namespace", HOST_NOTHING, "run Linux 5.2 or newer",
	 probe_open_tree, HOST_OPEN_TREE, 0},
	{"mount-setattr", "5.12", "clones are read-only, nosuid and nodev in the kernel itself",
	 "as root: bind mounts, as good; as an ordinary user: the gofer alone keeps a sandbox from "
	 "writing, and opens every file",
	 HOST_BOUNDARY, "run Linux 5.12 or newer", probe_mount_setattr, HOST_MOUNT_SETATTR, 0},
	{"fchmodat2", "6.6", "the gofer changes the mode of files that it cannot open",
	 "chmod of an unreadable file on a volume fails", HOST_LESS, "run Linux 6.6 or newer",
	 probe_fchmodat2, 0, 0},
	/* isolation */
	{"user-namespaces", "", "the sandbox's capabilities, were it to gain any, are over nothing",
	 "as root: the other namespaces, uid nobody; as an ordinary user: no namespaces",
	 HOST_BOUNDARY,
	 "sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1 (Debian), "
	 "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
	 probe_user_namespaces, HOST_USER_NAMESPACES, 0},
	{"namespaces", "", "the sandbox sees no process, file, network or IPC object of the host",
	 "filters, Landlock and the uid are what is left: docs/SECURITY.md", HOST_BOUNDARY,
	 "run moat as root, permit user namespaces, or (in a container) give it SYS_ADMIN and a "
	 "seccomp profile that permits namespaces",
	 probe_namespaces, HOST_NAMESPACES, 0},
	{"landlock", "5.13", "files and processes out of reach where there are no namespaces",
	 "there, a sentry that was taken over could open what its uid may", HOST_BOUNDARY,
	 "run Linux 5.13 or newer with lsm=landlock,… and an outer seccomp filter that permits it",
	 probe_landlock, HOST_LANDLOCK, 0},
	{"new-privileges", "", "nothing: moat gives them up itself", "all is the same",
	 HOST_NOTHING, "nothing to do", probe_new_privileges, 0, 0},
	/* resources */
	{"cgroups", "", "nothing yet: --memory is enforced by the sentry", "all is the same",
	 HOST_NOTHING, "nothing to do", probe_cgroups, 0, 0},
	{"cpus", "", "a sentry thread polls for the next system call while another CPU is idle",
	 "with one CPU every system call that needs the sentry is two switches", HOST_SLOWER,
	 "give moat two CPUs", probe_cpus, 0, 0},
	{"open-files", "", "4,096 files of the host stay open, and more if guests open them",
	 "RLIMIT_NOFILE / 4 stay open; a guest that has more open than the limit gets ENFILE",
	 HOST_LESS, "ulimit -n 65536 (as root moat raises it itself)", probe_open_files, 0, 0},
	{"processes", "",
	 "a guest process is a process of the host, a blocked guest thread a thread",
	 "fork fails in the sandbox when RLIMIT_NPROC is reached", HOST_LESS, "ulimit -u 4096",
	 probe_processes, 0, 0},
	{"overcommit", "", "address space is reserved before it is used",
	 "with vm.overcommit_memory=2 guests get ENOMEM when the host's commit limit is reached",
	 HOST_LESS, "sysctl vm.overcommit_memory=0", probe_overcommit, 0, 0},
	{"low-addresses", "", "programs may map memory as low as on most hosts (64 KiB)",
	 "mmap below vm.mmap_min_addr fails in the sandbox", HOST_LESS,
	 "sysctl vm.mmap_min_addr=65536", probe_low_addresses, 0, 0},
	{"huge-pages", "",
	 "small pages unless a program asks: transparent_hugepage is not 'always'",
	 "sandboxes take more memory", HOST_SLOWER,
	 "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled", probe_huge_pages, 0, 0},
	{"io-uring", "5.1", "fast network links; no sandbox has one yet", "sendmmsg and recvmmsg",
	 HOST_NOTHING, "sysctl kernel.io_uring_disabled=0", probe_io_uring, 0, 0},
	/* what lies about */
	{"proc", "", "a procfs at /proc, as moat starts", "sandboxes do not start", HOST_NO_START,
	 "mount -t proc proc /proc", probe_proc, 0, 0},
	{"writable-root", "", "nothing: moat writes no file on the host", "all is the same",
	 HOST_NOTHING, "nothing to do", probe_writable_root, 0, 0},
	{"executable-tmp", "", "nothing: what guests execute in /tmp is in memory, or on a volume",
	 "all is the same", HOST_NOTHING, "nothing to do", probe_executable_tmp, 0, 0},
};
const unsigned num_host_features = ARRAY_SIZE(host_features);

const char *host_effect_name(enum host_effect effect)
{
	switch (effect) {
	case HOST_NOTHING:
		return "nothing";
	case HOST_SLOWER:
		return "speed";
	case HOST_LESS:
		return "less inside";
	case HOST_BOUNDARY:
		return "boundary";
	case HOST_NO_START:
		return "no sandboxes";
	}
	return "";
}

int host_feature_hide(const char *name, size_t len, uint32_t *platform)
{
	for (unsigned i = 0; i < num_host_features; i++) {
		const struct host_feature *f = &host_features[i];

		if (strlen(f->name) != len || strncmp(f->name, name, len))
			continue;
		if (!f->hidden && !f->platform_hidden)
			return -ENOENT;
		host_lacks(f->hidden);
		*platform |= f->platform_hidden;
		return 0;
	}
	return -ENOENT;
}

int host_check_version(char *err, size_t errlen)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) != 2 || major > OLDEST_MAJOR ||
	    (major == OLDEST_MAJOR && minor >= OLDEST_MINOR))
		return 0;
	snprintf(err, errlen, "moat needs Linux %d.%d or newer; this is %.64s", OLDEST_MAJOR,
		 OLDEST_MINOR, u.release);
	return -ENOSYS;
}
