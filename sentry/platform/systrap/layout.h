/*
 * What the sentry and the stub share: the slot, the words of the protocol. Included by freestanding
 * stub code: no other headers of ours but the shared layout.
 */
#ifndef MOAT_SENTRY_PLATFORM_SYSTRAP_LAYOUT_H
#define MOAT_SENTRY_PLATFORM_SYSTRAP_LAYOUT_H

#include <stdint.h>

#include "../shared/layout.h"

/* The slot region is this address space's own range of the slots memfd. */
#define STUB_SLOTS STUB_MEMORY
#define SLOT_SIZE 0x10000ULL
#define SLOTS_PER_AS 4096ULL
#define SLOT_REGION (SLOT_SIZE * SLOTS_PER_AS) /* 256 MiB of addresses; pages on demand */

/* Inside a slot. Signal frames are pushed from SLOT_STACK_TOP down. The frame that iretq loads lies
 * in the middle of the signal stack: a kick that interrupts the resume sequence is then still "on
 * the alternate stack" and its frame goes below, not over the one whose FPU state we need. */
#define SLOT_FPU 0x1000 /* XSAVE buffer, up to SLOT_STACK */
#define SLOT_STACK 0x5000
#define SLOT_STACK_TOP SLOT_SIZE
#define SLOT_IRET_FRAME 0xa000 /* five words end here */

/* slot->turn: whose turn it is, and what for. */
#define TURN_NONE 0    /* not had one yet: a new process's, a new thread's */
#define TURN_SENTRY 1  /* the stub has published an event or a command's result */
#define TURN_RESUME 2  /* load all registers and go back to the guest */
#define TURN_FAST 3    /* the stub stands in the patched entry: only rax changed */
#define TURN_COMMAND 4 /* execute slot->cmd */
#define TURN_EXECUTE 5 /* make the futex call in cmd_nr, cmd_args for the guest, and go back */

/* slot->wake: how the stub tells the sentry that it is its turn. */
#define WAKE_NONE 0	/* a worker is polling turn */
#define WAKE_FUTEX 1	/* a worker sleeps on turn */
#define WAKE_DOORBELL 2 /* the doorbell syscall, which the sentry answers when it resumes us */

/* Commands; most are syscalls that the sentry verifies through the notification. */
#define CMD_SYSCALL 1 /* nr, args */
#define CMD_FORK 2    /* nr = clone; the child maps its slot region with args[5] as offset */
#define CMD_THREAD 3  /* clone a thread whose slot is args[5] */
#define CMD_XSAVE 4   /* live FPU state into the slot's buffer */
#define CMD_FRESH 5   /* zygote only: clone a clean stub; args as CMD_FORK */
#define CMD_NOTHING 7 /* only the batch */
#define CMD_WORD 8    /* an atomic operation on a word: op, address, argument, expected */
#define CMD_EXIT 6    /* this thread ends */

/* In slot->sigmask; SIGKILL's bit, for that one is never blocked. */
#define MASK_LENT (1ULL << 8)
/* SIGKILL and SIGSTOP. */
#define MASK_NEVER (1ULL << 8 | 1ULL << 18)

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
	/* Without FSGSBASE: set fs_base before the next full way back. The sentry sets it, the stub
	 * clears it. */
	uint32_t set_fs;
	/* A kick has found the stub at work: it reports EVENT_INTERRUPTED instead of going back. */
	uint32_t kicked;

	/* command */
	uint32_t cmd, cmd_pad;
	uint64_t cmd_nr;
	uint64_t cmd_args[6];
	int64_t cmd_result;

	/* What the stub does by itself: answer these, and private futexes. 0: nothing. */
	uint32_t shortcuts;
	int32_t ppid, pid, tid;
	uint32_t uid, euid, gid, egid;

	/* A futex call for the guest: under way, and may sleep; since when, by the CPU's counter;
	 * until when (struct timespec, CLOCK_MONOTONIC), if the sentry says so. */
	uint32_t sleeping;
	uint32_t report; /* its end is an event: the sentry is to see it */
	uint64_t slept_from;
	int64_t deadline[2];

	/* Commands that wait for the next turn, whatever it is: see command.c. */
	uint32_t batch_n, batch_failed;
	struct {
		uint64_t nr, args[6];
	} batch[8];

	/* The guest's blocked signals, lent to the stub while MASK_LENT is set: it may change them
	 * then in one step each, and the sentry takes that bit back in one. */
	uint64_t sigmask;

	uint32_t seq;	     /* counts what the stub has handed over; the doorbell's argument */
	uint32_t traps;	     /* calls from sites that are not patched */
	uint64_t scratch[4]; /* the patched entry saves what it needs before it has a stack */
};

/* The last slot of a region is no thread's: what the whole address space has. */
#define PAGE_INDEX (SLOTS_PER_AS - 1)
#define STUB_PAGE (STUB_SLOTS + PAGE_INDEX * SLOT_SIZE)
struct region_page {
	uint32_t sleepers;  /* threads with `sleeping` set */
	uint32_t patch_gen; /* odd while a site is being patched */
};

/* Offsets that entry.S uses; slots.c checks them. */
#define SLOT_OFF_TURN 0
#define SLOT_OFF_REGS 56
#define SLOT_OFF_FPSTATE (56 + 23 * 8)
#define SLOT_OFF_KICKED (SLOT_OFF_FPSTATE + 12)

#endif
