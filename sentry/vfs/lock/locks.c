/* File locks: range arithmetic, conflicts, waiting, deadlocks. */
#include "sentry/vfs/lock/lock_internal.h"

#include "base/clock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/restart.h"

#define MAX_LOCKS 262144 /* in the sandbox: memory that guests can make us hold */

struct file_lock {
	TAILQ_ENTRY(file_lock) link;
	struct lock_request r; /* pid counted */
};
TAILQ_HEAD(lock_list, file_lock);

struct file_lock_context {
	TAILQ_ENTRY(file_lock_context) all_link;
	struct inode *inode; /* whose it is; not counted */
	struct mutex lock;
	struct lock_list posix, flock;
	struct wait_queue wait;
};

/* Who waits for whom, for POSIX locks. */
struct blocked {
	TAILQ_ENTRY(blocked) link;
	const void *owner, *waits_for;
};
static TAILQ_HEAD(, blocked) blocked_list = TAILQ_HEAD_INITIALIZER(blocked_list);
static struct mutex blocked_lock = MUTEX_INIT; /* after a context's lock */
static _Atomic int num_locks;
/* Every context, for /proc/locks; its lock comes before a context's. */
static TAILQ_HEAD(, file_lock_context) contexts = TAILQ_HEAD_INITIALIZER(contexts);
static struct mutex contexts_lock = MUTEX_INIT;

static struct file_lock_context *context_of(struct inode *inode, bool create)
{
	struct file_lock_context *ctx = __atomic_load_n(&inode->locks, __ATOMIC_ACQUIRE);
	struct file_lock_context *none = NULL;

	if (ctx || !create)
		return ctx;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return NULL;
	ctx->inode = inode;
	mutex_init(&ctx->lock);
	TAILQ_INIT(&ctx->posix);
	TAILQ_INIT(&ctx->flock);
	wait_queue_init(&ctx->wait);
	if (!__atomic_compare_exchange_n(&inode->locks, &none, ctx, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		free(ctx);
		return none;
	}
	MUTEX_GUARD(&contexts_lock);
	TAILQ_INSERT_TAIL(&contexts, ctx, all_link);
	return ctx;
}

static struct file_lock *lock_alloc(const struct lock_request *r)
{
	struct file_lock *l;

	if (atomic_fetch_add(&num_locks, 1) >= MAX_LOCKS) {
		atomic_fetch_sub(&num_locks, 1);
		return NULL;
	}
	l = malloc(sizeof(*l));
	if (!l) {
		atomic_fetch_sub(&num_locks, 1);
		return NULL;
	}
	l->r = *r;
	if (r->pid)
		pid_get(r->pid);
	return l;
}

static void lock_free(struct file_lock *l)
{
	if (!l)
		return;
	if (l->r.pid)
		pid_put(l->r.pid);
	free(l);
	atomic_fetch_sub(&num_locks, 1);
}

static void list_remove(struct lock_list *list, struct file_lock *l)
{
	TAILQ_REMOVE(list, l, link);
	lock_free(l);
}

void file_locks_free(struct file_lock_context *ctx)
{
	if (!ctx)
		return;
	mutex_lock(&contexts_lock);
	TAILQ_REMOVE(&contexts, ctx, all_link);
	mutex_unlock(&contexts_lock);
	while (!TAILQ_EMPTY(&ctx->posix))
		list_remove(&ctx->posix, TAILQ_FIRST(&ctx->posix));
	while (!TAILQ_EMPTY(&ctx->flock))
		list_remove(&ctx->flock, TAILQ_FIRST(&ctx->flock));
	mutex_destroy(&ctx->lock);
	free(ctx);
}

static bool overlaps(const struct lock_request *a, const struct lock_request *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool conflicts(const struct lock_request *a, const struct lock_request *b)
{
	return a->owner != b->owner && overlaps(a, b) && (a->type == F_WRLCK || b->type == F_WRLCK);
}

static struct file_lock *find_conflict(struct lock_list *list, const struct lock_request *req)
{
	struct file_lock *l;

	TAILQ_FOREACH (l, list, link)
		if (conflicts(&l->r, req))
			return l;
	return NULL;
}

/* --- outside -----------------------------------------------------------------------------------
 */

#define LOOK_FIRST_NS 1000000
#define LOOK_LAST_NS 100000000

static const struct lock_mirror *mirror;

void file_locks_set_mirror(const struct lock_mirror *m)
{
	mirror = m;
}

bool is_mirrored(const struct inode *inode)
{
	return mirror && mirror->concerns(inode);
}

/* Lets go of what of the range nobody here holds any more. The context's lock held. */
static void mirror_release(struct file_lock_context *ctx, int64_t start, int64_t end)
{
	int64_t at = start;

	while (at <= end) {
		struct file_lock *l, *over = NULL;
		int64_t next = end;

		TAILQ_FOREACH (l, &ctx->posix, link) {
			if (l->r.start <= at && at <= l->r.end)
				over = l;
			else if (l->r.start > at && l->r.start - 1 < next)
				next = l->r.start - 1;
		}
		if (over)
			next = over->r.end;
		else
			mirror->set(ctx->inode, F_UNLCK, at, next);
		if (next == INT64_MAX)
			return;
		at = next + 1;
	}
}

static void mirror_flock(struct file_lock_context *ctx)
{
	struct file_lock *l;
	int type = F_UNLCK;

	TAILQ_FOREACH (l, &ctx->flock, link)
		if (type != F_WRLCK)
			type = l->r.type;
	mirror->flock(ctx->inode, type);
}

/* How long to wait until the next look: outside nobody wakes us. */
static int64_t next_look(const struct inode *inode, int64_t *pause)
{
	int64_t now = *pause;

	if (!is_mirrored(inode))
		return NO_DEADLINE;
	*pause = MIN(now * 2, LOOK_LAST_NS);
	return monotonic_ns() + now;
}

/* --- setting ranges ----------------------------------------------------------------------------
 */

/* Takes req's range out of what its owner holds. `spare` is for a lock that is cut in two: used, or
 * left. True if anything changed. */
static bool cut(struct lock_list *list, const struct lock_request *req, struct file_lock **spare)
{
	struct file_lock *l, *next;
	bool changed = false;

	TAILQ_FOREACH_SAFE (l, list, link, next) {
		if (l->r.owner != req->owner || !overlaps(&l->r, req))
			continue;
		changed = true;
		if (l->r.start < req->start && l->r.end > req->end) {
			struct file_lock *right = steal_ptr(spare);

			right->r.type = l->r.type;
			right->r.start = req->end + 1;
			right->r.end = l->r.end;
			TAILQ_INSERT_AFTER(list, l, right, link);
			l->r.end = req->start - 1;
		} else if (l->r.start < req->start) {
			l->r.end = req->start - 1;
		} else if (l->r.end > req->end) {
			l->r.start = req->end + 1;
		} else {
			list_remove(list, l);
		}
	}
	return changed;
}

/* Joins `n` with neighbours of the same owner and type, and puts it in. */
static void put_in(struct lock_list *list, struct file_lock *n)
{
	struct file_lock *l, *next;

	TAILQ_FOREACH_SAFE (l, list, link, next) {
		if (l->r.owner != n->r.owner || l->r.type != n->r.type)
			continue;
		if (l->r.end != INT64_MAX && l->r.end + 1 == n->r.start) {
			n->r.start = l->r.start;
			list_remove(list, l);
		} else if (n->r.end != INT64_MAX && n->r.end + 1 == l->r.start) {
			n->r.end = l->r.end;
			list_remove(list, l);
		}
	}
	TAILQ_FOREACH (l, list, link)
		if (l->r.start > n->r.start)
			break;
	if (l)
		TAILQ_INSERT_BEFORE(l, n, link);
	else
		TAILQ_INSERT_TAIL(list, n, link);
}

/* --- deadlocks ---------------------------------------------------------------------------------
 */

/* Notes that b->owner waits for b->waits_for, unless that closes a circle. */
static bool would_deadlock(struct blocked *b)
{
	const void *who = b->waits_for;
	struct blocked *i;
	int steps = 0;

	MUTEX_GUARD(&blocked_lock);
again:
	if (who == b->owner)
		return true;
	TAILQ_FOREACH (i, &blocked_list, link)
		if (i != b && i->owner == who && ++steps < 1000) {
			who = i->waits_for;
			goto again;
		}
	return false;
}

static void blocked_add(struct blocked *b)
{
	MUTEX_GUARD(&blocked_lock);
	TAILQ_INSERT_TAIL(&blocked_list, b, link);
}

static void blocked_remove(struct blocked *b)
{
	MUTEX_GUARD(&blocked_lock);
	TAILQ_REMOVE(&blocked_list, b, link);
}

/* --- POSIX and OFD -----------------------------------------------------------------------------
 */

struct attempt {
	struct file_lock_context *ctx;
	const struct lock_request *req;
	struct blocked *graph; /* NULL: does not wait, or OFD */
};

/* 0, -EAGAIN on a conflict, -EDEADLK, -ENOLCK. */
static int try_set(struct attempt *a)
{
	const struct lock_request *req = a->req;
	struct file_lock *new = NULL, *spare, *other;
	bool changed;

	spare = lock_alloc(req);
	if (req->type != F_UNLCK)
		new = lock_alloc(req);
	if (!spare || (req->type != F_UNLCK && !new)) {
		lock_free(spare);
		lock_free(new);
		return -ENOLCK;
	}
	mutex_lock(&a->ctx->lock);
	other = req->type == F_UNLCK ? NULL : find_conflict(&a->ctx->posix, req);
	if (other) {
		int err = -EAGAIN;

		if (a->graph && !other->r.ofd) {
			mutex_lock(&blocked_lock);
			a->graph->waits_for = other->r.owner;
			mutex_unlock(&blocked_lock);
			if (would_deadlock(a->graph))
				err = -EDEADLK;
		}
		mutex_unlock(&a->ctx->lock);
		lock_free(spare);
		lock_free(new);
		return err;
	}
	/* Nobody here holds more of the range than is asked for now: so it is for the outside. */
	if (new &&is_mirrored(a->ctx->inode)) {
		int err = mirror->set(a->ctx->inode, req->type, req->start, req->end);

		if (err) {
			mutex_unlock(&a->ctx->lock);
			lock_free(spare);
			lock_free(new);
			return err;
		}
	}
	changed = cut(&a->ctx->posix, req, &spare);
	if (new)
		put_in(&a->ctx->posix, new);
	else if (changed && is_mirrored(a->ctx->inode))
		mirror_release(a->ctx, req->start, req->end);
	mutex_unlock(&a->ctx->lock);
	lock_free(spare);
	if (changed) /* unlocked, or a write lock became a read lock */
		wake_up_all(&a->ctx->wait, ~0u);
	return 0;
}

int posix_lock_set(struct file *f, const struct lock_request *req, bool wait)
{
	struct attempt a = {.req = req};
	struct blocked graph = {.owner = req->owner};
	int64_t pause = LOOK_FIRST_NS;
	int err, ret;

	a.ctx = context_of(f->inode, req->type != F_UNLCK);
	if (!a.ctx)
		return req->type == F_UNLCK ? 0 : -ENOLCK;
	err = is_mirrored(f->inode) ? mirror->prepare(f->inode) : 0;
	if (err)
		return err;
	if (!wait)
		return try_set(&a);
	if (!req->ofd) {
		a.graph = &graph;
		blocked_add(&graph);
	}
	do
		ret = wait_event_interruptible(&a.ctx->wait, (err = try_set(&a)) != -EAGAIN,
					       next_look(f->inode, &pause));
	while (ret == -ETIMEDOUT);
	if (a.graph)
		blocked_remove(&graph);
	return ret ? ret : err;
}

void posix_lock_test(struct file *f, const struct lock_request *req, struct lock_request *found)
{
	struct file_lock_context *ctx = context_of(f->inode, false);
	struct file_lock *l;

	found->type = F_UNLCK;
	found->pid = NULL;
	if (ctx) {
		MUTEX_GUARD(&ctx->lock);
		l = find_conflict(&ctx->posix, req);
		if (l) {
			*found = l->r;
			if (found->pid)
				pid_get(found->pid);
			return;
		}
	}
	if (is_mirrored(f->inode) && !mirror->prepare(f->inode))
		mirror->test(f->inode, req, found);
}

/* --- flock -------------------------------------------------------------------------------------
 */

static int try_flock(struct file_lock_context *ctx, const struct lock_request *req)
{
	struct file_lock *l, *new = NULL;
	bool released = false;
	int err = 0;

	if (req->type != F_UNLCK) {
		new = lock_alloc(req);
		if (!new)
			return -ENOLCK;
	}
	mutex_lock(&ctx->lock);
	TAILQ_FOREACH (l, &ctx->flock, link)
		if (l->r.owner == req->owner)
			break;
	if (l && l->r.type == req->type) {
		lock_free(new); /* held already */
	} else {
		/* A conversion gives up the old lock first (man 2 flock). */
		if (l) {
			list_remove(&ctx->flock, l);
			released = true;
		}
		if (new &&find_conflict(&ctx->flock, req))
			err = -EAGAIN;
		else if (new &&is_mirrored(ctx->inode))
			err = mirror->flock(ctx->inode, req->type);
		if (new && !err)
			TAILQ_INSERT_TAIL(&ctx->flock, new, link);
		else
			lock_free(new);
		if ((err || !new) && is_mirrored(ctx->inode))
			mirror_flock(ctx);
	}
	mutex_unlock(&ctx->lock);
	if (released)
		wake_up_all(&ctx->wait, ~0u);
	return err;
}

int flock_set(struct file *f, int type, bool wait)
{
	struct file_lock_context *ctx = context_of(f->inode, type != F_UNLCK);
	struct lock_request req = {
		.type = type,
		.end = INT64_MAX,
		.owner = f,
		.flock = true,
		.pid = current_tgid(),
	};
	int64_t pause = LOOK_FIRST_NS;
	int err, ret;

	if (!ctx)
		return type == F_UNLCK ? 0 : -ENOLCK;
	err = is_mirrored(f->inode) ? mirror->prepare(f->inode) : 0;
	if (err)
		return err;
	if (!wait)
		return try_flock(ctx, &req);
	do
		ret = wait_event_interruptible(&ctx->wait, (err = try_flock(ctx, &req)) != -EAGAIN,
					       next_look(f->inode, &pause));
	while (ret == -ETIMEDOUT);
	return ret ? ret : err;
}

/* --- release -----------------------------------------------------------------------------------
 */

static bool remove_owned(struct lock_list *list, const void *owner)
{
	struct file_lock *l, *next;
	bool any = false;

	TAILQ_FOREACH_SAFE (l, list, link, next)
		if (l->r.owner == owner) {
			list_remove(list, l);
			any = true;
		}
	return any;
}

static bool remove_posix(struct file_lock_context *ctx, const void *owner)
{
	if (!remove_owned(&ctx->posix, owner))
		return false;
	if (is_mirrored(ctx->inode))
		mirror_release(ctx, 0, INT64_MAX);
	return true;
}

void file_locks_release_file(struct file *f)
{
	struct file_lock_context *ctx = f->inode ? context_of(f->inode, false) : NULL;
	bool any;

	if (!ctx)
		return;
	mutex_lock(&ctx->lock);
	any = remove_owned(&ctx->flock, f);
	if (any && is_mirrored(ctx->inode))
		mirror_flock(ctx);
	any |= remove_posix(ctx, f);
	mutex_unlock(&ctx->lock);
	if (any)
		wake_up_all(&ctx->wait, ~0u);
}

void file_locks_release_owner(struct file *f, struct files *owner)
{
	struct file_lock_context *ctx = context_of(f->inode, false);
	bool any;

	if (!ctx)
		return;
	mutex_lock(&ctx->lock);
	any = remove_posix(ctx, owner);
	mutex_unlock(&ctx->lock);
	if (any)
		wake_up_all(&ctx->wait, ~0u);
}

/* --- looking -----------------------------------------------------------------------------------
 */

static void each_of(struct file_lock_context *ctx,
		    void (*fn)(void *arg, struct inode *inode, const struct lock_request *r),
		    void *arg)
{
	struct file_lock *l;

	MUTEX_GUARD(&ctx->lock);
	TAILQ_FOREACH (l, &ctx->flock, link)
		fn(arg, ctx->inode, &l->r);
	TAILQ_FOREACH (l, &ctx->posix, link)
		fn(arg, ctx->inode, &l->r);
}

void file_locks_each(struct inode *inode,
		     void (*fn)(void *arg, struct inode *inode, const struct lock_request *r),
		     void *arg)
{
	struct file_lock_context *ctx;

	if (inode) {
		ctx = context_of(inode, false);
		if (ctx)
			each_of(ctx, fn, arg);
		return;
	}
	MUTEX_GUARD(&contexts_lock);
	TAILQ_FOREACH (ctx, &contexts, all_link)
		each_of(ctx, fn, arg);
}
