/*
 * What moat asks of a host: one table of everything that some host may lack, with what is done
 * then. `moat check` prints it for this host, docs/HOSTS.md is made from it, --platform-without
 * takes its names. A start looks at none of it: it tries, and falls back (base/host.h).
 */
#ifndef MOAT_BOOT_HOST_FEATURES_H
#define MOAT_BOOT_HOST_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is lost without a feature. */
enum host_effect {
	HOST_NOTHING,  /* another way does the same */
	HOST_SLOWER,   /* speed */
	HOST_LESS,     /* something inside the sandbox */
	HOST_BOUNDARY, /* a layer of the boundary */
	HOST_NO_START, /* sandboxes */
};

struct host_feature {
	const char *name;
	const char *since; /* the first version of Linux that has it; "": a setting */
	const char *use;   /* what moat does with it */
	const char *without;
	enum host_effect effect;
	const char *fix; /* what to change on the host */
	/* True if this host has it; `detail` (of size n, empty before) may say more. */
	bool (*probe)(char *detail, size_t n);
	uint32_t hidden, platform_hidden; /* HOST_*, PLATFORM_WITHOUT_*: bits that hide it */
};

extern const struct host_feature host_features[];
extern const unsigned num_host_features;

/* "nothing", "speed", "boundary" …: one word for messages and JSON. */
const char *host_effect_name(enum host_effect effect);
/* Makes this process and those it forks do as if the feature were missing; *platform gets the
 * platform's bit. -ENOENT: no such name, or nothing can be done without it. */
int host_feature_hide(const char *name, size_t len, uint32_t *platform);
/* -ENOSYS with a message if the kernel is too old for any of this. */
int host_check_version(char *err, size_t errlen);

#endif
