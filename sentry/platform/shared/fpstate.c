#include "sentry/platform/shared/fpstate.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "sentry/platform/shared/stub_host.h"

#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u
#define FXSAVE_SIZE 512
#define XSAVE_HEADER_SIZE 64
#define SW_RESERVED 464 /* in the legacy area; struct _fpx_sw_bytes */
#define FCW_INITIAL 0x37f
#define MXCSR_OFFSET 24
#define MXCSR_INITIAL 0x1f80
#define MXCSR_VALID 0xffff

struct sw_bytes {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};

static bool has_xsave(void)
{
	return stub_host.features & STUB_XSAVE;
}

static uint64_t supported_features(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (uint64_t)hi << 32;
}

size_t platform_fpstate_size(void)
{
	static size_t known;
	unsigned a, b, c, d;

	if (!known && !has_xsave())
		known = FXSAVE_SIZE;
	if (!known) {
		__cpuid_count(0xd, 0, a, b, c, d);
		BUG_ON(b + 4 > FPSTATE_MAX);
		known = b + 4; /* MAGIC2 follows the area */
	}
	return known;
}

void fpstate_initial(void *image)
{
	memset(image, 0, platform_fpstate_size());
	*(uint16_t *)image = FCW_INITIAL;
	*(uint32_t *)(void *)((char *)image + MXCSR_OFFSET) = MXCSR_INITIAL;
}

int fpstate_take(void *image, const void *frame, size_t size)
{
	char *header = (char *)image + FXSAVE_SIZE;
	size_t full = platform_fpstate_size();
	uint64_t xstate_bv = 3; /* x87 and SSE */

	if (size > full)
		size = full;
	if (size < FXSAVE_SIZE)
		return -EINVAL;
	memset(image, 0, full);
	memcpy(image, frame, size);
	*(uint32_t *)(void *)((char *)image + MXCSR_OFFSET) &= MXCSR_VALID;
	if (!has_xsave())
		return 0;
	if (size >= FXSAVE_SIZE + XSAVE_HEADER_SIZE)
		memcpy(&xstate_bv, header, sizeof(xstate_bv));
	xstate_bv &= supported_features();
	memset(header, 0, XSAVE_HEADER_SIZE);
	memcpy(header, &xstate_bv, sizeof(xstate_bv));
	return 0;
}

void fpstate_mark(void *image)
{
	size_t full = platform_fpstate_size();
	const uint32_t magic2 = FP_XSTATE_MAGIC2;
	struct sw_bytes sw = {0};

	if (!has_xsave()) {
		/* Programs take zeros for "this is all there is". */
		memcpy((char *)image + SW_RESERVED, &sw, sizeof(sw));
		return;
	}
	sw.magic1 = FP_XSTATE_MAGIC1;
	sw.extended_size = (uint32_t)full;
	sw.xfeatures = supported_features();
	sw.xstate_size = (uint32_t)full - sizeof(magic2);
	memcpy((char *)image + SW_RESERVED, &sw, sizeof(sw));
	memcpy((char *)image + full - sizeof(magic2), &magic2, sizeof(magic2));
}
