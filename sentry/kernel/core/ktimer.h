/* Kernel timers: one timer thread calls functions at CLOCK_MONOTONIC times. */
#ifndef MOAT_SENTRY_KERNEL_CORE_KTIMER_H
#define MOAT_SENTRY_KERNEL_CORE_KTIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <bsd/sys/tree.h>

struct ktimer {
	RB_ENTRY(ktimer) node;
	int64_t deadline; /* monotonic ns */
	void (*fn)(
		struct ktimer *timer); /* on the timer thread, no locks held; may re-arm itself */
	bool armed, running;
};

int ktimer_start_thread(void);
void ktimer_init(struct ktimer *t, void (*fn)(struct ktimer *));
/* (Re)arms. Any thread, any locks. */
void ktimer_arm(struct ktimer *t, int64_t deadline);
/* Disarms; true if it was armed. Does not wait for a running fn. */
bool ktimer_cancel(struct ktimer *t);
/* Disarms and waits until fn, if running, has returned. The caller holds no lock that fn takes. */
bool ktimer_cancel_sync(struct ktimer *t);

#endif
