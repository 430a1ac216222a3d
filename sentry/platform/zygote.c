/*
 * The zygote: a process with nothing mapped but the stub, made once, from which clean stubs are
 * cloned. No guest code ever runs in it, so what it answers is trusted.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/platform/systrap.h"

extern const char stub_image[], stub_image_end[];

#define MAX_PROG 64

/* --- the stubs' seccomp programs ------------------------------------------------------------ */

#define LD(off) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (off))
#define RET(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define DATA(field) offsetof(struct seccomp_data, field)
#define ARG_LO(n) (DATA(args) + 8 * (n))
#define ARG_HI(n) (DATA(args) + 8 * (n) + 4)

/*
 * Everything traps unless the syscall instruction is the stub's own and the call one that the
 * protocol knows. What changes memory, clones or ends a thread, and the doorbell, passes here only
 * to be claimed by the notification filter. The futex is confined to the slot region.
 */
unsigned trap_filter(struct sock_filter *prog, unsigned max)
{
	static const uint32_t passed[] = {
		SYS_rt_sigreturn, SYS_sched_yield, SYS_mmap,	SYS_munmap,	 SYS_mprotect,
		SYS_mremap,	  SYS_madvise,	   SYS_clone,	SYS_sigaltstack, SYS_exit,
		SYS_exit_group,	  SYS_seccomp,	   DOORBELL_NR,
	};
	unsigned n = 0, count = ARRAY_SIZE(passed);

#define EMIT(...) (prog[n++] = (struct sock_filter)__VA_ARGS__)
#define JUMP(op, k, t, f) BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), (t), (f))
	BUG_ON(count + 20 > max);
	EMIT(LD(DATA(arch)));
	EMIT(JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(instruction_pointer) + 4));
	EMIT(JUMP(BPF_JEQ, STUB_TEXT >> 32, 1, 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(instruction_pointer)));
	EMIT(JUMP(BPF_JGE, (uint32_t)STUB_TEXT_SIZE, 0, 1));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(nr)));
	/* futex: seven instructions further on if it is not one */
	EMIT(JUMP(BPF_JEQ, SYS_futex, 0, 8));
	EMIT(LD(ARG_HI(0)));
	EMIT(JUMP(BPF_JEQ, STUB_SLOTS >> 32, 0, 5));
	EMIT(LD(ARG_LO(0)));
	EMIT(JUMP(BPF_JGE, (uint32_t)STUB_SLOTS, 0, 3));
	EMIT(JUMP(BPF_JGE, (uint32_t)(STUB_SLOTS + SLOT_REGION), 2, 0));
	EMIT(LD(ARG_LO(1)));
	EMIT(JUMP(BPF_JGT, 1 /* FUTEX_WAKE */, 0, (uint8_t)(count + 2)));
	EMIT(RET(SECCOMP_RET_TRAP));
	for (unsigned i = 0; i < count; i++)
		EMIT(JUMP(BPF_JEQ, passed[i], (uint8_t)(count - i), 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(RET(SECCOMP_RET_ALLOW));
	return n;
}

/* Claims what the trap filter let pass and is not harmless in itself. Tiny: the kernel evaluates a
 * filter for every syscall number when it is installed. */
unsigned notify_filter(struct sock_filter *prog, unsigned max)
{
	unsigned n = 0;

	BUG_ON(max < 6);
	EMIT(LD(DATA(nr)));
	EMIT(JUMP(BPF_JEQ, SYS_futex, 3, 0));
	EMIT(JUMP(BPF_JEQ, SYS_rt_sigreturn, 2, 0));
	EMIT(JUMP(BPF_JEQ, SYS_sched_yield, 1, 0));
	EMIT(RET(SECCOMP_RET_USER_NOTIF));
	EMIT(RET(SECCOMP_RET_ALLOW));
	return n;
}

/* --- start ----------------------------------------------------------------------------------- */

static void write_zygote_args(struct slot *slot)
{
	struct zygote_args *args = (struct zygote_args *)((char *)slot + SLOT_FPU);
	struct sock_filter *prog = (struct sock_filter *)(args + 1);

	args->slots_fd = (uint64_t)systrap.slots_fd;
	vdso_describe(args);
	args->trap_prog_len = trap_filter(prog, MAX_PROG);
	args->notify_prog_len = notify_filter(prog + args->trap_prog_len, MAX_PROG);
}

/* A sealed memfd that holds the stub: nobody can change what all stubs execute. */
static int make_text_fd(void)
{
	size_t size = (size_t)(stub_image_end - stub_image);
	int fd = memfd_create("moat-stub", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, STUB_TEXT_SIZE) || pwrite(fd, stub_image, size, 0) != (ssize_t)size ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
		close(fd);
		return -errno;
	}
	return fd;
}

/*
 * In the zygote, still on the sentry's memory: maps the stub where it belongs and jumps into it.
 * The libraries that this may overwrite are not needed any more, so: no calls, no stack protector,
 * no sanitizer.
 */
#define raw_syscall(nr, a, b, c, d, e, f)                                                          \
	({                                                                                         \
		long ret_;                                                                         \
		register long r10_ __asm__("r10") = (long)(d);                                     \
		register long r8_ __asm__("r8") = (long)(e);                                       \
		register long r9_ __asm__("r9") = (long)(f);                                       \
		__asm__ volatile("syscall"                                                         \
				 : "=a"(ret_)                                                      \
				 : "a"((long)(nr)), "D"((long)(a)), "S"((long)(b)),                \
				   "d"((long)(c)), "r"(r10_), "r"(r8_), "r"(r9_)                   \
				 : "rcx", "r11", "memory");                                        \
		ret_;                                                                              \
	})

__attribute__((noinline, noreturn, no_stack_protector,
	       no_sanitize("address", "undefined", "thread"))) static void
zygote_enter(int text_fd, int slots_fd, uint64_t entry, uint64_t rseq_area)
{
	if (rseq_area)
		raw_syscall(SYS_rseq, rseq_area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG, 0, 0);
	raw_syscall(SYS_prctl, 15 /* PR_SET_NAME */, "moat-stub", 0, 0, 0, 0);
	raw_syscall(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL, 0, 0, 0, 0);
	raw_syscall(SYS_mmap, STUB_TEXT, STUB_TEXT_SIZE, PROT_READ | PROT_EXEC,
		    MAP_SHARED | MAP_FIXED, text_fd, 0);
	raw_syscall(SYS_mmap, STUB_SLOTS, SLOT_REGION, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, slots_fd, 0);
	__asm__ volatile("jmp *%0" : : "r"(entry), "D"(STUB_SLOTS) : "memory");
	__builtin_unreachable();
}

static uint64_t own_rseq_area(void)
{
	if (!__rseq_size)
		return 0;
	return (uint64_t)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static int wait_for_turn(struct slot *slot)
{
	struct timespec second = {1, 0};

	for (int i = 0; i < 10; i++) {
		uint32_t turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);

		if (turn == TURN_SENTRY)
			return 0;
		futex_wait_word(&slot->turn, turn, &second);
	}
	return -ETIMEDOUT;
}

int zygote_start(void)
{
	const struct stub_header *header = (const struct stub_header *)stub_image;
	uint64_t rseq_area = own_rseq_area();
	struct slot *slot = slot_of(0, 0);
	int ret;

	mutex_init(&systrap.zygote_lock);
	BUG_ON(header->magic != STUB_MAGIC);
	if (!(getauxval(AT_HWCAP2) & 2)) {
		log_error("this kernel or CPU has no FSGSBASE, which systrap needs");
		return -ENOSYS;
	}
	systrap.text_fd = make_text_fd();
	if (systrap.text_fd < 0)
		return systrap.text_fd;
	systrap.zygote = slot;
	slot->self = STUB_SLOTS;
	slot->turn = 0;
	write_zygote_args(slot);
	systrap.zygote_pid = (pid_t)syscall(SYS_clone, CLONE_FILES | STUB_EXIT_SIGNAL, 0, 0, 0, 0);
	if (systrap.zygote_pid < 0)
		return -errno;
	if (systrap.zygote_pid == 0)
		zygote_enter(systrap.text_fd, systrap.slots_fd, header->zygote_main, rseq_area);
	ret = wait_for_turn(slot);
	if (ret || slot->cmd_result) {
		log_error("the zygote did not start: %d, filter %ld", ret, (long)slot->cmd_result);
		kill(systrap.zygote_pid, SIGKILL);
		return ret ? ret : (int)slot->cmd_result;
	}
	if (!slot->scratch[3])
		vdso_disable();
	return 0;
}

int zygote_fresh(struct platform_as *as)
{
	struct slot *slot = slot_of(as->index, 0);
	struct slot *z = systrap.zygote;
	__u64 flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
	int ret, fd;

	slot->self = STUB_SLOTS;
	slot->turn = 0;
	slot->wake = WAKE_FUTEX;
	slot->spin = 0;
	slot->stub_sleeping = 0;
	write_zygote_args(slot);

	mutex_lock(&systrap.zygote_lock);
	if (systrap.down) {
		mutex_unlock(&systrap.zygote_lock);
		return -ESRCH;
	}
	z->cmd = CMD_FRESH;
	z->cmd_args[0] = CLONE_PARENT | CLONE_FILES;
	z->cmd_args[4] = (uint64_t)systrap.slots_fd;
	z->cmd_args[5] = as->index * SLOT_REGION;
	__atomic_store_n(&z->turn, TURN_COMMAND, __ATOMIC_SEQ_CST);
	futex_wake_word(&z->turn, 1);
	ret = wait_for_turn(z);
	as->pid = (pid_t)z->cmd_result;
	mutex_unlock(&systrap.zygote_lock);
	if (ret)
		return ret;
	if (as->pid <= 0)
		return as->pid ? (int)as->pid : -EAGAIN;
	ret = wait_for_turn(slot);
	fd = (int)slot->cmd_result;
	if (ret || fd < 0) {
		kill(as->pid, SIGKILL);
		return ret ? ret : fd;
	}
	/* Waking the peer on the same CPU is what makes the notification fast; older kernels lack
	 * it. */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags) || systrap.config.futex_only)
		systrap.futex_mode = true;
	as->listener = listener_alloc(fd);
	if (!as->listener) {
		close(fd);
		kill(as->pid, SIGKILL);
		return -ENOMEM;
	}
	slot->wake = WAKE_DOORBELL;
	return 0;
}
