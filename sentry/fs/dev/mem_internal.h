/* The memory devices (man 4 null, full, random). */
#ifndef MOAT_SENTRY_FS_DEV_MEM_INTERNAL_H
#define MOAT_SENTRY_FS_DEV_MEM_INTERNAL_H

#define MEM_MAJOR 1
#define MEM_NULL 3
#define MEM_ZERO 5
#define MEM_FULL 7
#define MEM_RANDOM 8
#define MEM_URANDOM 9

void mem_devices_init(void);

#endif
