/*
 * How a handler of a system call is written.
 *
 *	SYSCALL_DEFINE3(read, int, fd, uaddr_t, buf, size_t, count)
 *	{
 *		...	`t` is the calling task (== current)
 *		return n or -errno
 *	}
 *
 * defines sys_read. syscalls/table.def lists every x86-64 syscall with its number, name and
 * argument kinds; a handler is found by its symbol (weak reference): what is not defined answers
 * -ENOSYS and is logged once. A handler that changes registers other than rax sets TF_FULL_REGS.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_SYSCALL_H
#define MOAT_SENTRY_KERNEL_CORE_SYSCALL_H

#include <stdint.h>
#include <sys/types.h>

#include "sentry/kernel/core/restart.h"

#define SYSCALL_MAX 460 /* numbers are below it */

struct syscall_args {
	uint64_t a[6];
};
typedef long (*syscall_fn)(struct task *t, const struct syscall_args *args);

#define SYSCALL_DEFINE0(name)                                                                      \
	static long do_sys_##name(struct task *t);                                                 \
	long sys_##name(struct task *t, const struct syscall_args *args);                          \
	long sys_##name(struct task *t, const struct syscall_args *args)                           \
	{                                                                                          \
		return do_sys_##name(t);                                                           \
	}                                                                                          \
	static long do_sys_##name(struct task *t)
#define SYSCALL_DEF_(name, proto, ...)                                                             \
	static long do_sys_##name proto;                                                           \
	long sys_##name(struct task *t, const struct syscall_args *args);                          \
	long sys_##name(struct task *t, const struct syscall_args *args)                           \
	{                                                                                          \
		const uint64_t *a = args->a;                                                       \
		return do_sys_##name(t, __VA_ARGS__);                                              \
	}                                                                                          \
	static long do_sys_##name proto
#define SYSCALL_DEFINE1(name, t1, n1) SYSCALL_DEF_(name, (struct task * t, t1 n1), (t1)a[0])
#define SYSCALL_DEFINE2(name, t1, n1, t2, n2)                                                      \
	SYSCALL_DEF_(name, (struct task * t, t1 n1, t2 n2), (t1)a[0], (t2)a[1])
#define SYSCALL_DEFINE3(name, t1, n1, t2, n2, t3, n3)                                              \
	SYSCALL_DEF_(name, (struct task * t, t1 n1, t2 n2, t3 n3), (t1)a[0], (t2)a[1], (t3)a[2])
#define SYSCALL_DEFINE4(name, t1, n1, t2, n2, t3, n3, t4, n4)                                      \
	SYSCALL_DEF_(name, (struct task * t, t1 n1, t2 n2, t3 n3, t4 n4), (t1)a[0], (t2)a[1],      \
		     (t3)a[2], (t4)a[3])
#define SYSCALL_DEFINE5(name, t1, n1, t2, n2, t3, n3, t4, n4, t5, n5)                              \
	SYSCALL_DEF_(name, (struct task * t, t1 n1, t2 n2, t3 n3, t4 n4, t5 n5), (t1)a[0],         \
		     (t2)a[1], (t3)a[2], (t4)a[3], (t5)a[4])
#define SYSCALL_DEFINE6(name, t1, n1, t2, n2, t3, n3, t4, n4, t5, n5, t6, n6)                      \
	SYSCALL_DEF_(name, (struct task * t, t1 n1, t2 n2, t3 n3, t4 n4, t5 n5, t6 n6), (t1)a[0],  \
		     (t2)a[1], (t3)a[2], (t4)a[3], (t5)a[4], (t6)a[5])

#endif
