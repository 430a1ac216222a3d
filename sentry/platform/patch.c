/*
 * Patching of syscall sites: the first few calls of a site come by SIGSYS; then the instruction
 * becomes a jump, through a table in the low 2 GiB, to a trampoline that enters the stub directly.
 *
 *   shape A   b8 nr nr nr nr 0f 05            mov $nr,%eax; syscall         (7 bytes)
 *   shape B   0f 05 48 3d ii ii ii ii         syscall; cmp $imm,%rax        (8 bytes)
 *   shape C   0f 05 3d ii ii ii ii            syscall; cmp $imm,%eax        (7 bytes)
 *   becomes   ff 24 25 d0 d1 d2 d3 [90]       jmp *table_entry
 *
 * The table lies at 0x7e06....: in shape A the bytes 06 7e stand where `syscall` stood, and 06 is
 * no instruction, so that a jump straight to the old syscall raises SIGILL and is taken for it. In
 * B and C a thread may stand, in saved registers, just behind the syscall: patch_fix_resume() sends
 * it to the trampoline. Sites with a jump to that place are not patched, nor is anything while
 * another thread of the process is in the guest.
 *
 * Trampoline, 64 bytes:  [mov $nr,%eax]  movabs $back,%rcx  movabs $entry,%r11  jmp *%r11
 *                        syscall   (never run; a restarted call backs up to it)
 *                 back:  [cmp]  jmp *0(%rip)  .quad after the site
 * syscall destroys rcx and r11 anyway.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/platform/systrap.h"

extern const char stub_image[];

#define TABLE PLATFORM_RESERVED_START
#define TABLE_SIZE 0x10000ULL
#define TRAMPOLINES (TABLE + TABLE_SIZE)
#define TRAMP_SIZE 64
#define MAX_PATCHES 1024
#define HOT_BUCKETS 256
#define HOT_COUNT 6
/* How far around a site jumps into it are looked for. */
#define WINDOW_SIZE 4096

_Static_assert(MAX_PATCHES *TRAMP_SIZE <= PLATFORM_RESERVED_END - TRAMPOLINES, "they fit");

struct patch {
	uint64_t after; /* just behind the old syscall instruction; 0: shape A, or gone */
	uint64_t back;
};

struct patches {
	struct refcount refs; /* shared by forks until one of them patches */
	bool mapped;
	unsigned count;
	struct {
		uint64_t rip;
		int32_t traps;
	} hot[HOT_BUCKETS];
	struct patch patch[MAX_PATCHES]; /* open addressing by `after` */
};

struct patches *patches_get(struct patches *p)
{
	if (p)
		refcount_inc(&p->refs);
	return p;
}

void patches_put(struct patches *p)
{
	if (p && refcount_dec(&p->refs))
		free(p);
}

void patching_stop(struct platform_as *as)
{
	mutex_lock(&as->lock);
	while (as->patching) {
		mutex_unlock(&as->lock);
		sched_yield();
		mutex_lock(&as->lock);
	}
	as->forking++;
	mutex_unlock(&as->lock);
}

void patching_resume(struct platform_as *as)
{
	mutex_lock(&as->lock);
	as->forking--;
	mutex_unlock(&as->lock);
}

/* The address space's own copy, to be changed. as->lock held. */
static struct patches *own_patches(struct platform_as *as)
{
	struct patches *p = as->patches;

	if (p && refcount_read(&p->refs) == 1)
		return p;
	struct patches *copy = calloc(1, sizeof(*copy));
	if (!copy)
		return NULL;
	if (p)
		*copy = *p;
	refcount_init(&copy->refs);
	patches_put(p);
	as->patches = copy;
	return copy;
}

static unsigned patch_slot(uint64_t after)
{
	return (unsigned)(after * 0x9e3779b97f4a7c15ULL >> 54) % MAX_PATCHES;
}

static struct patch *patch_find(struct patches *p, uint64_t after)
{
	unsigned i = patch_slot(after);

	for (unsigned n = 0; n < MAX_PATCHES && p->patch[i].back; n++) {
		if (p->patch[i].after == after)
			return &p->patch[i];
		i = (i + 1) % MAX_PATCHES;
	}
	return NULL;
}

static void patch_insert(struct patches *p, uint64_t after, uint64_t back)
{
	unsigned i = patch_slot(after);

	while (p->patch[i].back)
		i = (i + 1) % MAX_PATCHES;
	p->patch[i] = (struct patch){after, back};
}

static ssize_t peek(struct platform_as *as, uint64_t addr, void *buf, size_t n)
{
	struct iovec local = {buf, n}, remote = {(void *)addr, n};

	return platform_read_mem(as, &local, 1, &remote, 1);
}

/*
 * True if anything in the window around may be a jump to `target`. Every byte is taken for the
 * beginning of a jump: too many are found, never too few.
 */
static bool jump_target(const uint8_t *code, size_t size, uint64_t base, uint64_t target)
{
	for (size_t i = 0; i + 6 <= size; i++) {
		uint64_t at = base + i;
		int32_t rel;

		if (code[i] == 0xeb || (code[i] & 0xf0) == 0x70 || (code[i] & 0xfc) == 0xe0) {
			if (at + 2 + (uint64_t)(int64_t)(int8_t)code[i + 1] == target)
				return true;
		}
		if (code[i] == 0xe9 || code[i] == 0xe8) {
			memcpy(&rel, code + i + 1, 4);
			if (at + 5 + (uint64_t)(int64_t)rel == target)
				return true;
		}
		if (code[i] == 0x0f && (code[i + 1] & 0xf0) == 0x80) {
			memcpy(&rel, code + i + 2, 4);
			if (at + 6 + (uint64_t)(int64_t)rel == target)
				return true;
		}
	}
	return false;
}

struct site {
	uint64_t start;	   /* of what is overwritten */
	unsigned length;   /* 7 or 8 */
	uint8_t before[5]; /* instruction that runs before */
	unsigned nbefore;
	uint8_t behind[6]; /* and after the call */
	unsigned nbehind;
};

/* Recognizes the shape around the syscall instruction that ends at rip. */
static bool site_recognize(struct platform_as *as, uint64_t rip, struct site *site)
{
	uint64_t base = (rip - WINDOW_SIZE / 2) & PAGE_MASK;
	uint8_t code[2 * WINDOW_SIZE];
	ssize_t n = peek(as, base, code, sizeof(code));
	size_t at;
	const uint8_t *p;

	if (n <= 0) {
		base = (rip - 2) & PAGE_MASK;
		n = peek(as, base, code, sizeof(code));
	}
	at = rip - base;
	if (n <= 0 || at < 7 || at + 8 > (size_t)n)
		return false;
	p = code + at;
	if (p[-2] != 0x0f || p[-1] != 0x05)
		return false;
	if (p[-7] == 0xb8) {
		*site = (struct site){.start = rip - 7, .length = 7, .nbefore = 5};
		memcpy(site->before, p - 7, 5);
		/* The mov's immediate must not be jumped into; the syscall may be. */
		return true;
	}
	if (p[0] == 0x48 && p[1] == 0x3d)
		*site = (struct site){.start = rip - 2, .length = 8, .nbehind = 6};
	else if (p[0] == 0x3d)
		*site = (struct site){.start = rip - 2, .length = 7, .nbehind = 5};
	else
		return false;
	memcpy(site->behind, p, site->nbehind);
	return !jump_target(code, (size_t)n, base, rip);
}

/* Writes the trampoline's bytes; returns where the call comes back to. */
static uint64_t build_trampoline(const struct site *site, uint64_t at, uint8_t out[TRAMP_SIZE])
{
	uint64_t entry = ((const struct stub_header *)stub_image)->patched_entry;
	uint64_t after = site->start + site->length, back;
	unsigned n = 0;

	memset(out, 0xcc, TRAMP_SIZE);
	memcpy(out, site->before, site->nbefore);
	n = site->nbefore;
	back = at + n + 10 + 10 + 3 + 2;
	memcpy(out + n, "\x48\xb9", 2); /* movabs $back,%rcx */
	memcpy(out + n + 2, &back, 8);
	memcpy(out + n + 10, "\x49\xbb", 2); /* movabs $entry,%r11 */
	memcpy(out + n + 12, &entry, 8);
	memcpy(out + n + 20, "\x41\xff\xe3\x0f\x05", 5); /* jmp *%r11; syscall */
	n += 25;
	memcpy(out + n, site->behind, site->nbehind);
	n += site->nbehind;
	memcpy(out + n, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip) */
	memcpy(out + n + 6, &after, 8);
	return back;
}

static bool alone_in_guest(struct platform_as *as)
{
	struct platform_ctx *ctx;

	TAILQ_FOREACH (ctx, &as->ctxs, as_link)
		if (ctx->state != CTX_OWNED)
			return false;
	return true;
}

static void patch_site(struct platform_ctx *ctx, struct patches *p, const struct site *site)
{
	struct platform_as *as = ctx->as;
	uint64_t tramp = TRAMPOLINES + p->count * TRAMP_SIZE, back;
	uint64_t entry = TABLE + p->count * 8;
	uint8_t code[TRAMP_SIZE], jump[8] = {0xff, 0x24, 0x25, 0, 0, 0, 0, 0x90};

	back = build_trampoline(site, tramp, code);
	memcpy(jump + 3, &entry, 4);
	p->count++; /* used up, whatever happens */
	if (platform_force_write(as, tramp, code, sizeof(code)) != sizeof(code) ||
	    platform_force_write(as, entry, &tramp, 8) != 8 ||
	    platform_force_write(as, site->start, jump, site->length) != site->length)
		return;
	if (site->nbehind)
		patch_insert(p, site->start + 2, back);
	else
		patch_insert(p, 0, back);
	if (ctx->regs.rip == site->start + 2 && site->nbehind)
		ctx->regs.rip = back;
}

void patch_consider(struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;
	uint64_t rip = ctx->regs.rip;
	struct patches *p;
	struct site site;
	unsigned i;

	if (rip >= GUEST_TASK_SIZE || rip < PAGE_SIZE ||
	    (rip >= PLATFORM_RESERVED_START && rip < PLATFORM_RESERVED_END))
		return;
	MUTEX_GUARD(&as->lock);
	if (as->patching || as->forking || as->shares_text)
		return;
	p = own_patches(as);
	if (!p || p->count == MAX_PATCHES)
		return;
	i = (unsigned)(rip * 0x9e3779b97f4a7c15ULL >> 56) % HOT_BUCKETS;
	if (p->hot[i].rip != rip) {
		p->hot[i].rip = rip;
		p->hot[i].traps = 0;
	}
	if (++p->hot[i].traps < HOT_COUNT || !alone_in_guest(as))
		return;
	p->hot[i].traps = 0;
	if (!site_recognize(as, rip, &site)) {
		p->hot[i].traps = -1000000; /* do not look again soon */
		return;
	}
	if (!p->mapped) {
		/* Nobody replaces as->patches while this is set. */
		as->patching = true;
		mutex_unlock(&as->lock);
		int ret = platform_map_reserved(ctx);
		mutex_lock(&as->lock);
		as->patching = false;
		if (ret)
			return;
		p->mapped = true;
	}
	/* With the lock held no other thread of the process goes to the guest. */
	if (alone_in_guest(as) && !as->shares_text)
		patch_site(ctx, p, &site);
}

void patch_fix_resume(struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;
	struct patch *patch;

	patch = as->patches->count ? patch_find(as->patches, ctx->regs.rip) : NULL;
	if (patch && ctx->regs.rip)
		ctx->regs.rip = patch->back;
}

bool patch_is_syscall(struct platform_ctx *ctx)
{
	uint64_t rip = ctx->regs.rip;
	uint8_t code[7];

	if (rip < PAGE_SIZE || rip >= GUEST_TASK_SIZE ||
	    peek(ctx->as, rip - 5, code, sizeof(code)) != sizeof(code))
		return false;
	if (code[0] != 0xff || code[1] != 0x24 || code[2] != 0x25 || code[5] != 0x06 ||
	    code[6] != 0x7e)
		return false;
	ctx->regs.orig_rax = ctx->regs.rax & 0xffffffff;
	ctx->regs.rax = (uint64_t)-ENOSYS;
	ctx->regs.rip = rip + 2;
	return true;
}

void platform_text_shared(struct platform_as *as)
{
	MUTEX_GUARD(&as->lock);

	as->shares_text = true;
}

void platform_text_changed(struct platform_as *as, uint64_t addr, uint64_t len)
{
	struct patches *p;

	MUTEX_GUARD(&as->lock);
	if (!as->patches || !as->patches->count)
		return;
	while (as->patching) {
		mutex_unlock(&as->lock);
		sched_yield();
		mutex_lock(&as->lock);
	}
	p = own_patches(as);
	for (unsigned i = 0; p && i < MAX_PATCHES; i++)
		if (p->patch[i].after >= addr && p->patch[i].after - addr < len)
			p->patch[i].after = 0;
}
