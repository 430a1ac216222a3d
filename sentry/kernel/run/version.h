/* What this kernel calls itself: uname(2), /proc/version, /proc/sys/kernel. */
#ifndef MOAT_SENTRY_KERNEL_RUN_VERSION_H
#define MOAT_SENTRY_KERNEL_RUN_VERSION_H

#define KERNEL_SYSNAME "Linux"
#define KERNEL_RELEASE "6.12.0-moat"
#define KERNEL_VERSION "#1 SMP PREEMPT_DYNAMIC moat"
#define KERNEL_MACHINE "x86_64"

#endif
