/*
 * Containers as the kernel knows them: a mark on processes (thread_group->container, an opaque
 * pointer of whoever made them, inherited by children), and the namespaces of the first process.
 * For the host threads of the loader; guests' tasks have no need of it.
 */
#ifndef MOAT_SENTRY_KERNEL_CONTAINER_H
#define MOAT_SENTRY_KERNEL_CONTAINER_H

#include "sentry/kernel/task/task.h"
#include "sentry/kernel/run/kernel.h"

/* References to the namespaces that further processes of a container are made in. */
struct container_ns {
	struct pid_ns *pid;
	struct uts_ns *uts;
	struct ipc_ns *ipc;
	struct net_ns *net;
	struct mnt_ns *mnt;
};
/* Those of a process that has not been started yet. */
void container_ns_get(struct thread_group *init, struct container_ns *ns);
void container_ns_put(struct container_ns *ns);

/* fd is written to (as an eventfd) whenever a process without a parent has ended: those that
 * kernel_create_process() made. Set once, before there are any. */
void kernel_set_exit_fd(int fd);

/* A signal to every process of the container; how many there were. */
int kernel_signal_container(const struct container_mark *c, int sig);
/* To the foreground process group of its controlling terminal; to the process if it has none. */
int kernel_signal_foreground(struct thread_group *g, int sig);
/* Stops every task of the container at the edge of the guest, or lets them go on. Waits until they
 * stand: 0, or -ETIMEDOUT (then they go on). */
int kernel_park_container(const struct container_mark *c, bool park);
/* The process of the container that has this number in ns: a reference, or NULL. */
struct thread_group *kernel_container_process(const struct container_mark *c, struct pid_ns *ns,
					      pid_t nr);

struct container_usage {
	uint64_t user_ns,
		kernel_ns; /* of what its programs ran, processes that are gone included */
	uint64_t memory;   /* bytes that its processes have for themselves */
	unsigned threads;
};
/* 0, or -ENOMEM. */
int kernel_container_usage(const struct container_mark *c, struct container_usage *usage);

/* The most memory that one process had at a time, where the host was asked (else 0), in bytes; of
 * one that has ended, and the children that it has waited for. */
uint64_t kernel_group_peak(struct thread_group *g);

struct process_info {
	pid_t pid, parent; /* as seen from ns */
	uid_t uid;
	int threads;
	uint64_t cpu_ns;
	int64_t started_ns; /* CLOCK_REALTIME */
	char command[TASK_COMM_LEN];
	uint64_t tty; /* device number, 0: none */
};
/* The processes of a container, in a vector from malloc(); its length, or -ENOMEM. */
int kernel_container_processes(const struct container_mark *c, struct pid_ns *ns,
			       struct process_info **out);

#endif
