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
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sentry/counters/counters.h"
#include "sentry/platform/systrap/systrap.h"

extern const char stub_image[];

#define TABLE PLATFORM_RESERVED_START
#define TABLE_SIZE 0x10000ULL
#define TRAMPOLINES (TABLE + TABLE_SIZE)
#define TRAMP_SIZE 64
#define MAX_PATCHES 1024
#define HOT_BUCKETS 256
#define HOT_COUNT 6
#define PATCHING_LOOK_NS 50000 /* about as long as mapping the table takes */
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

/* Where what a copy takes over begins. */
#define PATCHES_COPIED offsetof(struct patches, mapped)

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

/* as->lock held. Whoever patches may wait for a command that this worker, if it leads the listener,
 * is to let through: so the lead is handed on. */
static void wait_while_patching(struct platform_as *as)
{
	const struct timespec pause = {0, PATCHING_LOOK_NS};

	while (as->patching) {
		mutex_unlock(&as->lock);
		platform_block_begin();
		lock_check_no_lead();
		nanosleep(&pause, NULL);
		platform_block_end();
		mutex_lock(&as->lock);
	}
}

void patching_stop(struct platform_as *as)
{
	mutex_lock(&as->lock);
	wait_while_patching(as);
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

	/* Who had it before and has put it has read it before that. */
	if (p && atomic_load_explicit(&p->refs.n, memory_order_acquire) == 1)
		return p;
	struct patches *copy = calloc(1, sizeof(*copy));
	if (!copy)
		return NULL;
	if (p)
		memcpy((char *)copy + PATCHES_COPIED, (char *)p + PATCHES_COPIED,
		       sizeof(*copy) - PATCHES_COPIED);
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

	/* One that sleeps in a futex call does not run the guest's code when it wakes, once the
	 * generation of patches has changed. */
	TAILQ_FOREACH (ctx, &as->ctxs, as_link)
		if (ctx_state(ctx) != CTX_OWNED &&
		    !(ctx_state(ctx) == CTX_GUEST && ctx_sleeps(ctx)))
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
	count(COUNT_SITES_PATCHED);
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
	/* What has been put off is done before memory is touched from outside: not under the lock.
	 */
	if (as->patching || as->forking || as->shares_text || as->exposed || ctx->nbatch)
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
		count(COUNT_SITES_REFUSED);
		return;
	}
	if (!p->mapped) {
		/* Nobody replaces as->patches while this is set. */
		as->patching = true;
		mutex_unlock(&as->lock);
		int ret = map_reserved(ctx);

		/* It may have been put off: no command is waited for under the lock. */
		if (!ret)
			ret = ctx_flush(ctx);
		mutex_lock(&as->lock);
		as->patching = false;
		if (ret)
			return;
		p->mapped = true;
	}
	/* With the lock held no other thread of the process goes to the guest. */
	patch_gen_bump(as);
	if (alone_in_guest(as) && !as->shares_text && !as->exposed)
		patch_site(ctx, p, &site);
	patch_gen_bump(as);
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
	bool patched;

	mutex_lock(&ctx->as->lock);
	patched = ctx->as->patches;
	mutex_unlock(&ctx->as->lock);
	if (!patched || rip < PAGE_SIZE || rip >= GUEST_TASK_SIZE ||
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

void systrap_text_shared(struct platform_as *as)
{
	MUTEX_GUARD(&as->lock);

	as->shares_text = true;
}

void systrap_text_changed(struct platform_as *as, uint64_t addr, uint64_t len)
{
	struct patches *p;

	MUTEX_GUARD(&as->lock);
	if (!as->patches || !as->patches->count)
		return;
	wait_while_patching(as);
	p = own_patches(as);
	for (unsigned i = 0; p && i < MAX_PATCHES; i++)
		if (p->patch[i].after >= addr && p->patch[i].after - addr < len)
			p->patch[i].after = 0;
}

/* --- for debuggers
 * ------------------------------------------------------------------------------------- */

/* What a trampoline says of its site: hostile, as the memory that it is read from. */
struct origin {
	struct site site;
	uint64_t syscall; /* where the site's instruction is */
	unsigned back;	  /* offset in the trampoline of what comes after the call */
};

static bool origin_read(struct platform_as *as, unsigned i, struct origin *o)
{
	uint8_t code[TRAMP_SIZE];
	uint64_t end;
	unsigned n;

	if (platform_force_read(as, TRAMPOLINES + i * TRAMP_SIZE, code, sizeof(code)) !=
	    sizeof(code))
		return false;
	memset(o, 0, sizeof(*o));
	o->site.nbefore = code[0] == 0xb8 ? 5 : 0;
	memcpy(o->site.before, code, o->site.nbefore);
	n = o->back = o->site.nbefore + 25;
	if (!o->site.nbefore)
		o->site.nbehind = code[n] == 0x48 ? 6 : 5;
	memcpy(o->site.behind, code + n, o->site.nbehind);
	n += o->site.nbehind;
	memcpy(&end, code + n + 6, sizeof(end));
	if (memcmp(code + n, "\xff\x25\0\0\0\0", 6) || end < PAGE_SIZE || end > GUEST_TASK_SIZE)
		return false;
	o->site.length = o->site.nbefore + 2 + o->site.nbehind;
	o->site.start = end - o->site.length;
	o->syscall = o->site.start + o->site.nbefore;
	return true;
}

static void site_restore(struct platform_as *as, unsigned i)
{
	uint64_t entry = TABLE + i * 8;
	uint8_t now[8], jump[8] = {0xff, 0x24, 0x25}, code[13];
	struct origin o;
	unsigned n;

	memcpy(jump + 3, &entry, 4);
	if (!origin_read(as, i, &o) || platform_force_read(as, o.site.start, now, 7) != 7 ||
	    memcmp(now, jump, 7) != 0)
		return; /* it has been unmapped, or is another program's text now */
	n = o.site.nbefore;
	memcpy(code, o.site.before, n);
	memcpy(code + n, "\x0f\x05", 2);
	memcpy(code + n + 2, o.site.behind, o.site.nbehind);
	platform_force_write(as, o.site.start, code, o.site.length);
}

/* The address of the program's that stands for one in a trampoline. */
static uint64_t program_ip(struct platform_as *as, uint64_t rip)
{
	uint64_t at = (rip - TRAMPOLINES) % TRAMP_SIZE;
	struct origin o;

	if (rip < TRAMPOLINES || rip >= PLATFORM_RESERVED_END ||
	    !origin_read(as, (unsigned)((rip - TRAMPOLINES) / TRAMP_SIZE), &o))
		return rip;
	if (!at)
		return o.site.start;
	if (at < o.back)
		return o.syscall;
	return at == o.back ? o.syscall + 2 : o.site.start + o.site.length;
}

void systrap_expose(struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;
	struct patches *p;

	if (ctx_flush(ctx))
		return;
	MUTEX_GUARD(&as->lock);
	as->exposed = true;
	if (!as->patches || !as->patches->count)
		return;
	ctx->regs.rip = program_ip(as, ctx->regs.rip);
	if (as->restored || as->patching || as->forking || !alone_in_guest(as))
		return;
	p = own_patches(as);
	if (!p)
		return;
	patch_gen_bump(as);
	for (unsigned i = 0; i < p->count; i++)
		site_restore(as, i);
	for (unsigned i = 0; i < MAX_PATCHES; i++)
		p->patch[i].after = 0;
	patch_gen_bump(as);
	as->restored = true;
}
