/*
 * moat with a sandbox that has been taken over: linked like moat, but as soon as the sandbox
 * serves, behind its filter, this code runs in it instead. `moat_taken_over do -- /bin/true CASE`
 * ends with what the CLI says of the sandbox's end: taken_over.sh reads that.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "boot/loader/loader.h"
#include "sentry/platform/systrap/systrap.h"

#define HELD_STATUS 40
#define BROKEN_STATUS 41

static const char *wanted;
static char *page;
static int root = -1;

int __real_loader_new(const struct loader_args *args, struct loader **out,
		      struct control_error *err);
int __wrap_loader_new(const struct loader_args *args, struct loader **out,
		      struct control_error *err);
void __wrap_loader_wait_for_start_signal(struct loader *l);

int __wrap_loader_new(const struct loader_args *args, struct loader **out,
		      struct control_error *err)
{
	wanted = args->spec->process.argv[1];
	return __real_loader_new(args, out, err);
}

/* The descriptor of a directory that is the donated root. */
static int find_root(void)
{
	for (int fd = 3; fd < 200; fd++) {
		struct stat st;
		int etc;

		if (fstat(fd, &st) || !S_ISDIR(st.st_mode))
			continue;
		etc = openat(fd, "etc/passwd", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (etc < 0)
			continue;
		close(etc);
		return fd;
	}
	return -1;
}

static int opens(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* --- each is 1 if the boundary holds -----------------------------------------------------------
 */

static int cannot_open_own_memory(void)
{
	return !opens(systrap.config.proc_fd, "self/mem", O_RDWR) &&
	       !opens(systrap.config.proc_fd, "self/task/1/mem", O_RDWR) &&
	       !opens(systrap.config.proc_fd, "1/mem", O_RDONLY);
}

static int cannot_leave_root(void)
{
	struct stat inside, above;
	int fd = openat(root, "../../../../..", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int ret;

	/* ".." at the root of a detached mount is that root. */
	ret = fd < 0 || (!fstat(root, &inside) && !fstat(fd, &above) &&
			 inside.st_ino == above.st_ino && inside.st_dev == above.st_dev);
	if (fd >= 0)
		close(fd);
	return ret && !opens(root, "/", O_RDONLY | O_DIRECTORY)
		       ? 1
		       : ret && !opens(root, "/etc", O_RDONLY);
}

static int cannot_read_shadow(void)
{
	return !opens(root, "etc/shadow", O_RDONLY);
}

static int cannot_write_files(void)
{
	return !opens(root, "etc/passwd", O_RDWR) && !opens(root, "tmp", O_RDWR) &&
	       !opens(root, "var/tmp", O_WRONLY);
}

static int cannot_follow_procfs(void)
{
	return !opens(systrap.config.proc_fd, "1/root/etc", O_RDONLY) &&
	       !opens(systrap.config.proc_fd, "2/root/etc", O_RDONLY) &&
	       !opens(systrap.config.proc_fd, "2/cwd/etc", O_RDONLY) &&
	       !opens(systrap.config.proc_fd, "self/exe", O_RDWR);
}

static int cannot_signal_host(void)
{
	for (pid_t pid = 3; pid < 70000; pid++)
		if (!kill(pid, 0) && syscall(SYS_tgkill, getpid(), pid, 0) &&
		    waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT | __WALL))
			return 0; /* neither a thread of ours nor our child */
	return 1;
}

static int cannot_read_host_memory(void)
{
	for (pid_t pid = 3; pid < 70000; pid++) {
		char c;
		struct iovec local = {&c, 1}, remote = {(void *)0x400000, 1};

		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) < 0 && errno == ESRCH)
			continue;
		if (syscall(SYS_tgkill, getpid(), pid, 0) &&
		    waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT | __WALL))
			return 0;
	}
	return 1;
}

/* By every way that the sentry has into the zygote: its text stays what it is. */
static int cannot_change_stub_text(void)
{
	unsigned char before[16], after[16], junk[16];
	struct iovec local = {before, 16}, remote = {(void *)(STUB_TEXT + 64), 16};
	char path[32];
	int fd;

	memset(junk, 0xcc, sizeof(junk));
	if (process_vm_readv(systrap.zygote_pid, &local, 1, &remote, 1, 0) != 16)
		return 0;
	local.iov_base = junk;
	process_vm_writev(systrap.zygote_pid, &local, 1, &remote, 1, 0);
	snprintf(path, sizeof(path), "%d/mem", systrap.zygote_pid);
	fd = openat(systrap.config.proc_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = pwrite(fd, junk, sizeof(junk), (off_t)(STUB_TEXT + 64));

		(void)n;
		close(fd);
	}
	local.iov_base = after;
	return process_vm_readv(systrap.zygote_pid, &local, 1, &remote, 1, 0) == 16 &&
	       !memcmp(before, after, 16);
}

static long zygote_order(uint32_t cmd, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct slot *z = systrap.zygote;

	z->cmd = cmd;
	z->cmd_nr = nr;
	z->cmd_result = -12345;
	memset(z->cmd_args, 0, sizeof(z->cmd_args));
	z->cmd_args[0] = a0;
	z->cmd_args[1] = a1;
	z->cmd_args[2] = a2;
	z->cmd_args[4] = (uint64_t)systrap.slots_fd;
	z->cmd_args[5] = 100 * SLOT_REGION;
	__atomic_store_n(&z->turn, TURN_COMMAND, __ATOMIC_SEQ_CST);
	futex_wake_word(&z->turn, 1);
	for (int i = 0; i < 300 && z->turn == TURN_COMMAND; i++)
		usleep(10000);
	return z->cmd_result;
}

/* The call traps: the handler publishes it as if it were a guest's. */
static int zygote_cannot_unshare(void)
{
	return zygote_order(CMD_FRESH, 0, CLONE_NEWUSER | CLONE_PARENT | CLONE_FILES, 0, 0) <= 0;
}

static int zygote_cannot_call(void)
{
	return zygote_order(CMD_SYSCALL, SYS_socket, AF_INET, SOCK_STREAM, 0) < 0;
}

static long compat_call(void)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(20) : "memory");
	return ret;
}

static void be_killed(long result) __attribute__((noreturn));
static void be_killed(long result)
{
	(void)result;
	_exit(BROKEN_STATUS); /* it came back */
}

void __wrap_loader_wait_for_start_signal(struct loader *l)
{
	int fds[2];

	(void)fds;
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	root = find_root();
	if (page == MAP_FAILED || root < 0)
		_exit(BROKEN_STATUS + 1);
#define KILLED(name, what, call)                                                                   \
	if (!strcmp(wanted, #name))                                                                \
		be_killed((long)(call));
#define HELD(name, what, held)                                                                     \
	if (!strcmp(wanted, #name))                                                                \
		_exit((held) ? HELD_STATUS : BROKEN_STATUS);
#include "taken_over.def"
	_exit(BROKEN_STATUS + 2);
}
