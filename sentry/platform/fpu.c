/* The guest's FPU state: live in the stub's CPU, or an XSAVE image in its slot. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "sentry/platform/systrap.h"

#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u
#define SW_RESERVED 464 /* in the legacy area; man 2 sigreturn, struct _fpx_sw_bytes */

struct sw_bytes {
	uint32_t magic1, extended_size;
	uint64_t xfeatures;
	uint32_t xstate_size, padding[7];
};

static uint64_t supported_features(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (uint64_t)hi << 32;
}

size_t platform_fpstate_size(void)
{
	unsigned a, b, c, d;

	if (!systrap.fpstate_size) {
		__cpuid_count(0xd, 0, a, b, c, d);
		systrap.fpstate_size = b + 4; /* MAGIC2 follows the area */
		BUG_ON(b + 4 > SLOT_STACK - SLOT_FPU);
	}
	return systrap.fpstate_size;
}

static void *stub_image_of(struct platform_ctx *ctx)
{
	return (char *)ctx->slot + (ctx->fpu_addr - slot_stub_addr(ctx->index));
}

int platform_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size)
{
	static const uint64_t none[6];
	size_t full = platform_fpstate_size();
	struct sw_bytes sw = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = (uint32_t)full,
		.xfeatures = supported_features(),
		.xstate_size = (uint32_t)full - 4,
	};
	uint32_t magic2 = FP_XSTATE_MAGIC2;
	int ret;

	if (size < full)
		return -EINVAL;
	if (ctx->fpu_live) {
		/* XSAVE leaves parts of the header as they are. */
		memset((char *)ctx->slot + SLOT_FPU, 0, full);
		ret = ctx_command(ctx, CMD_XSAVE, 0, none, NULL);
		if (ret)
			return ret;
		memcpy(buf, (char *)ctx->slot + SLOT_FPU, full);
	} else {
		memcpy(buf, stub_image_of(ctx), full);
	}
	memcpy((char *)buf + SW_RESERVED, &sw, sizeof(sw));
	memcpy((char *)buf + full - 4, &magic2, 4);
	return 0;
}

int platform_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size)
{
	char *image = (char *)ctx->slot + SLOT_FPU;
	size_t full = platform_fpstate_size();
	uint64_t features = supported_features(), xstate_bv;

	if (size > full)
		size = full;
	if (size < 512)
		return -EINVAL;
	memset(image, 0, full);
	memcpy(image, buf, size);
	/* What would make xrstor fault is cleared here: reserved bits of MXCSR and the header. */
	*(uint32_t *)(void *)(image + 24) &= 0xffff;
	xstate_bv = 3;
	if (size >= 576)
		memcpy(&xstate_bv, image + 512, sizeof(xstate_bv));
	xstate_bv &= features;
	memset(image + 512, 0, 64);
	memcpy(image + 512, &xstate_bv, sizeof(xstate_bv));
	ctx->fpu_live = false;
	ctx->fpu_addr = slot_stub_addr(ctx->index) + SLOT_FPU;
	return 0;
}

int platform_reset_fpstate(struct platform_ctx *ctx)
{
	char *image = (char *)ctx->slot + SLOT_FPU;

	memset(image, 0, platform_fpstate_size());
	*(uint16_t *)(void *)image = 0x37f;
	*(uint32_t *)(void *)(image + 24) = 0x1f80;
	ctx->fpu_live = false;
	ctx->fpu_addr = slot_stub_addr(ctx->index) + SLOT_FPU;
	return 0;
}
