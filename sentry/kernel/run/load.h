#ifndef MOAT_SENTRY_KERNEL_RUN_LOAD_H
#define MOAT_SENTRY_KERNEL_RUN_LOAD_H

struct pid_ns;

struct load {
	double average[3]; /* over 1, 5 and 15 minutes */
	int running;	   /* tasks that ns sees */
	int total;	   /* tasks of all namespaces */
};

/* Any thread, no locks. */
void kernel_load(struct pid_ns *ns, struct load *load);

#endif
