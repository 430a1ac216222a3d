/*
 * What the sentry and the stub share: addresses, the slot, the words of the protocol. Included by
 * freestanding stub code: no other headers of ours.
 */
#ifndef MOAT_SENTRY_PLATFORM_LAYOUT_H
#define MOAT_SENTRY_PLATFORM_LAYOUT_H

#include <stdint.h>

/* Stub address space, above GUEST_TASK_SIZE. The text page range is read+execute; the slot region
 * is this address space's own range of the slots memfd. */
#define STUB_TEXT 0x7ff000000000ULL
#define STUB_TEXT_SIZE 0x10000ULL
#define STUB_SLOTS 0x7ff040000000ULL
#define SLOT_SIZE 0x10000ULL
#define SLOTS_PER_AS 4096ULL
#define SLOT_REGION (SLOT_SIZE * SLOTS_PER_AS) /* 256 MiB of addresses; pages on demand */
#define STUB_VDSO (STUB_SLOTS + SLOT_REGION)
#define STUB_VDSO_SIZE 0x100000ULL
#define STUB_END (STUB_VDSO + STUB_VDSO_SIZE)

/* Inside a slot. Signal frames are pushed from SLOT_STACK_TOP down. The frame that iretq loads lies
 * in the middle of the signal stack: a kick that interrupts the resume sequence is then still "on
 * the alternate stack" and its frame goes below, not over the one whose FPU state we need. */
#define SLOT_FPU 0x1000 /* XSAVE buffer, up to SLOT_STACK */
#define SLOT_STACK 0x5000
#define SLOT_STACK_TOP SLOT_SIZE
#define SLOT_IRET_FRAME 0xa000 /* five words end here */

/* slot->turn: whose turn it is, and what for. */
#define TURN_SENTRY 1  /* the stub has published an event or a command's result */
#define TURN_RESUME 2  /* load all registers and go back to the guest */
#define TURN_FAST 3    /* the stub stands in the patched entry: only rax changed */
#define TURN_COMMAND 4 /* execute slot->cmd */

/* slot->wake: how the stub tells the sentry that it is its turn. */
#define WAKE_NONE 0	/* a worker is polling turn */
#define WAKE_FUTEX 1	/* a worker sleeps on turn */
#define WAKE_DOORBELL 2 /* the doorbell syscall, which the sentry answers when it resumes us */

/* Never a real syscall: always answered through the notification. */
#define DOORBELL_NR 1023

/* Commands; most are syscalls that the sentry verifies through the notification. */
#define CMD_SYSCALL 1 /* nr, args */
#define CMD_FORK 2    /* nr = clone; the child maps its slot region with args[5] as offset */
#define CMD_THREAD 3  /* clone a thread whose slot is args[5] */
#define CMD_XSAVE 4   /* live FPU state into the slot's buffer */
#define CMD_FRESH 5   /* zygote only: clone a clean stub; args as CMD_FORK */
#define CMD_NOTHING 7 /* only the batch */
#define CMD_EXIT 6    /* this thread ends */

struct stub_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
	uint64_t rax, rcx, rdx, rsi, rdi;
	uint64_t orig_rax;
	uint64_t rip, cs, eflags, rsp, ss;
	uint64_t fs_base, gs_base;
};

/* Everything in it is hostile to the sentry, which copies, checks, then uses. */
struct slot {
	uint32_t turn;
	uint32_t stub_sleeping; /* the stub is in FUTEX_WAIT on turn */
	uint32_t wake;		/* WAKE_* */
	uint32_t spin;		/* how often the stub polls turn before it sleeps */
	uint64_t self;		/* its own address in the stub: gs:0x10 */

	/* event */
	uint32_t event; /* enum platform_event_kind */
	int32_t signo, code;
	uint32_t trapno, error;
	uint32_t fast; /* came through the patched entry: FPU live, TURN_FAST possible */
	uint64_t addr;

	struct stub_regs regs;

	/* FPU state: in memory at fpstate, or (fpstate 0) live in the CPU */
	uint64_t fpstate;

	/* command */
	uint32_t cmd, cmd_pad;
	uint64_t cmd_nr;
	uint64_t cmd_args[6];
	int64_t cmd_result;

	/* identity that the patched entry answers by itself; 0 in `known` while not valid */
	uint32_t identity_known, identity_pad;
	int32_t pid, tid;
	uint32_t uid, euid, gid, egid;

	/* Commands that wait for the next turn, whatever it is: see command.c. */
	uint32_t batch_n, batch_failed;
	struct {
		uint64_t nr, args[6];
	} batch[8];

	uint32_t seq; /* counts what the stub has handed over; the doorbell's argument */
	uint32_t seq_pad;
	uint64_t scratch[4]; /* the patched entry saves what it needs before it has a stack */
};

/* Offsets that entry.S uses; layout.c checks them. */
#define SLOT_OFF_TURN 0
#define SLOT_OFF_REGS 56
#define SLOT_OFF_FPSTATE (56 + 23 * 8)

/* At the start of the text: what the sentry needs to know of it. */
struct stub_header {
	uint64_t magic;
	uint64_t zygote_main; /* entry of the zygote: rdi = slot */
	uint64_t signal_entry, sigreturn;
	uint64_t
		patched_entry; /* where patched sites jump to; rcx = return address, rax = number */
	uint64_t end;
};
#define STUB_MAGIC 0x3162757473746f6dULL

/* What the zygote needs to begin with; copied into the slot's FPU buffer by the sentry. */
struct zygote_args {
	uint64_t slots_fd;
	/* The host's vDSO and its data pages, each mapping by itself, to be moved to STUB_VDSO as
	 * they lie. */
	uint64_t vdso_start, vdso_pieces;
	struct {
		uint64_t start, size;
	} vdso_piece[4];
	uint64_t trap_prog_len, notify_prog_len; /* struct sock_filter follow, trap first */
};

#endif
