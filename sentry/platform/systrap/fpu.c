/* The guest's FPU state: live in the stub's CPU, or an XSAVE image in its slot. */
#include <errno.h>
#include <string.h>

#include "sentry/platform/shared/fpstate.h"
#include "sentry/platform/systrap/systrap.h"

_Static_assert(FPSTATE_MAX <= SLOT_STACK - SLOT_FPU, "every image has room in a slot");

static void *slot_image(struct platform_ctx *ctx)
{
	return (char *)ctx->slot + SLOT_FPU;
}

static void *stub_image_of(struct platform_ctx *ctx)
{
	return (char *)ctx->slot + (ctx->fpu_addr - slot_stub_addr(ctx->index));
}

int systrap_get_fpstate(struct platform_ctx *ctx, void *buf, size_t size)
{
	static const uint64_t none[6];
	size_t full = platform_fpstate_size();
	int ret;

	if (size < full)
		return -EINVAL;
	if (ctx->fpu_live) {
		/* XSAVE leaves parts of the header as they are. */
		memset(slot_image(ctx), 0, full);
		ret = ctx_command(ctx, CMD_XSAVE, 0, none, NULL);
		if (ret)
			return ret;
		memcpy(buf, slot_image(ctx), full);
	} else {
		memcpy(buf, stub_image_of(ctx), full);
	}
	fpstate_mark(buf);
	return 0;
}

static void use_slot_image(struct platform_ctx *ctx)
{
	ctx->fpu_live = false;
	ctx->fpu_addr = slot_stub_addr(ctx->index) + SLOT_FPU;
}

int systrap_set_fpstate(struct platform_ctx *ctx, const void *buf, size_t size)
{
	int ret = fpstate_take(slot_image(ctx), buf, size);

	if (!ret)
		use_slot_image(ctx);
	return ret;
}

int systrap_reset_fpstate(struct platform_ctx *ctx)
{
	fpstate_initial(slot_image(ctx));
	use_slot_image(ctx);
	return 0;
}
