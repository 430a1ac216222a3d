/* Numbers and the objects behind them: see struct pid. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"

#define PAGE_PIDS 1024
#define PID_PAGES (GUEST_PID_MAX / PAGE_PIDS)
/* After the first wrap-around, numbers start here (Linux: RESERVED_PIDS). */
#define RESERVED_PIDS 300

/* There as long as one of its numbers is in use, or the last one given out: a sandbox that is used
 * again and again comes by all of them. */
struct pid_page {
	unsigned used;
	struct pid *pids[PAGE_PIDS];
};

struct pid_table {
	struct pid_page *pages[PID_PAGES];
};

/* Guards every table, and a namespace's last and count. Innermost. */
static struct mutex pid_lock = MUTEX_INIT;

struct pid_ns *pid_ns_create(struct user_ns *owner, struct pid_ns *parent)
{
	struct pid_ns *ns;

	if (parent && parent->depth + 1 >= PID_NS_MAX_DEPTH)
		return NULL;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return NULL;
	ns->table = calloc(1, sizeof(struct pid_table));
	ns->user_ns = ns->table ? user_ns_own(owner) : NULL;
	if (!ns->user_ns) {
		free(ns->table);
		free(ns);
		return NULL;
	}
	refcount_init(&ns->refs);
	ns->inum = ns_next_inum();
	if (parent) {
		ns->parent = pid_ns_get(parent);
		ns->depth = parent->depth + 1;
	}
	return ns;
}

struct pid_ns *pid_ns_get(struct pid_ns *ns)
{
	refcount_inc(&ns->refs);
	return ns;
}

void pid_ns_put(struct pid_ns *ns)
{
	while (ns && refcount_dec(&ns->refs)) {
		struct pid_ns *parent = ns->parent;
		struct pid_table *table = ns->table;

		for (int i = 0; i < PID_PAGES; i++)
			free(table->pages[i]);
		free(table);
		user_ns_disown(ns->user_ns);
		free(ns);
		ns = parent;
	}
}

static struct pid *table_get(struct pid_ns *ns, pid_t nr)
{
	struct pid_table *table = ns->table;
	const struct pid_page *page;

	if (nr <= 0 || nr >= GUEST_PID_MAX)
		return NULL;
	page = table->pages[nr / PAGE_PIDS];
	return page ? page->pids[nr % PAGE_PIDS] : NULL;
}

static void forget_unused(struct pid_ns *ns, pid_t nr)
{
	struct pid_table *table = ns->table;
	struct pid_page **page = &table->pages[nr / PAGE_PIDS];

	if (*page && !(*page)->used && ns->last / PAGE_PIDS != nr / PAGE_PIDS) {
		free(*page);
		*page = NULL;
	}
}

static int table_set(struct pid_ns *ns, pid_t nr, struct pid *pid)
{
	struct pid_table *table = ns->table;
	struct pid_page **page = &table->pages[nr / PAGE_PIDS];

	if (!*page) {
		*page = calloc(1, sizeof(**page));
		if (!*page)
			return -ENOMEM;
	}
	if (pid)
		(*page)->used++;
	else
		(*page)->used--;
	(*page)->pids[nr % PAGE_PIDS] = pid;
	forget_unused(ns, nr);
	return 0;
}

/* The next free number after the last one given out; 0: none. */
static pid_t find_free(struct pid_ns *ns)
{
	pid_t nr = ns->last;

	for (int i = 0; i < GUEST_PID_MAX; i++) {
		if (++nr >= GUEST_PID_MAX)
			nr = RESERVED_PIDS;
		if (!table_get(ns, nr))
			return nr;
	}
	return 0;
}

static int assign_number(struct pid *pid, struct pid_ns *ns, pid_t wanted)
{
	pid_t nr = wanted, last = ns->last;
	int err;

	if (ns->dying)
		return -ENOMEM;
	if (wanted) {
		if (wanted < 0 || wanted >= GUEST_PID_MAX)
			return -EINVAL;
		if (wanted != 1 && !ns->init)
			return -EINVAL;
		if (table_get(ns, wanted))
			return -EEXIST;
	} else {
		nr = find_free(ns);
		if (!nr)
			return -EAGAIN;
		ns->last = nr;
		forget_unused(ns, last);
	}
	err = table_set(ns, nr, pid);
	if (err)
		return err;
	pid->numbers[ns->depth].nr = nr;
	ns->count++;
	return 0;
}

static void drop_numbers(struct pid *pid, unsigned from)
{
	for (unsigned i = from; i <= pid->depth; i++) {
		struct pid_ns *ns = pid->numbers[i].ns;

		if (!pid->numbers[i].nr)
			continue;
		table_set(ns, pid->numbers[i].nr, NULL);
		ns->count--;
	}
}

int pid_alloc(struct pid_ns *ns, const int32_t *set_tid, unsigned set_tid_size, struct pid **out)
{
	struct pid *pid;
	struct pid_ns *at = ns;

	if (set_tid_size > ns->depth + 1)
		return -EINVAL;
	pid = calloc(1, sizeof(*pid) + (ns->depth + 1) * sizeof(pid->numbers[0]));
	if (!pid)
		return -ENOMEM;
	refcount_init(&pid->refs);
	pid->ns = pid_ns_get(ns);
	pid->depth = ns->depth;
	TAILQ_INIT(&pid->pgrp);
	TAILQ_INIT(&pid->session);
	wait_queue_init(&pid->exit_wait);
	MUTEX_GUARD(&pid_lock);
	for (unsigned i = 0; i <= ns->depth; i++, at = at->parent) {
		int err;

		pid->numbers[at->depth].ns = at;
		err = assign_number(pid, at, i < set_tid_size ? set_tid[i] : 0);
		if (err) {
			drop_numbers(pid, at->depth);
			pid_ns_put(pid->ns);
			free(pid);
			return err;
		}
	}
	*out = pid;
	return 0;
}

void pid_release_unused(struct pid *p)
{
	if (p->task || p->group || !TAILQ_EMPTY(&p->pgrp) || !TAILQ_EMPTY(&p->session))
		return;
	mutex_lock(&pid_lock);
	drop_numbers(p, 0);
	mutex_unlock(&pid_lock);
	for (unsigned i = 0; i <= p->depth; i++)
		pid_ns_shrank(p->numbers[i].ns);
	pid_put(p);
}

unsigned pid_ns_population(struct pid_ns *ns)
{
	MUTEX_GUARD(&pid_lock);
	return ns->count;
}

struct pid *pid_get(struct pid *p)
{
	refcount_inc(&p->refs);
	return p;
}

void pid_put(struct pid *p)
{
	if (!refcount_dec(&p->refs))
		return;
	pid_ns_put(p->ns);
	mutex_destroy(&p->exit_wait.lock);
	free(p);
}

pid_t pid_nr_ns(const struct pid *pid, const struct pid_ns *ns)
{
	if (!pid || !ns || ns->depth > pid->depth || pid->numbers[ns->depth].ns != ns)
		return 0;
	return pid->numbers[ns->depth].nr;
}

struct pid_ns *task_pid_ns(const struct task *t)
{
	return t->pid->ns;
}

pid_t task_tid(const struct task *t)
{
	return t->pid->numbers[t->pid->depth].nr;
}

pid_t task_tgid(const struct task *t)
{
	const struct pid *tgid = t->group->tgid;

	return tgid->numbers[tgid->depth].nr;
}

pid_t group_nr_ns(const struct thread_group *g, const struct pid_ns *ns)
{
	return g ? pid_nr_ns(g->tgid, ns) : 0;
}

struct pid *pid_find(struct pid_ns *ns, pid_t nr)
{
	struct pid *p;
	MUTEX_GUARD(&pid_lock);

	p = table_get(ns, nr);
	return p ? pid_get(p) : NULL;
}

struct task *task_find(pid_t tid)
{
	struct pid *p = pid_find(task_pid_ns(current), tid);
	struct task *t;

	if (!p)
		return NULL;
	read_lock(&kernel.tasklist_lock);
	t = p->task ? task_get(p->task) : NULL;
	read_unlock(&kernel.tasklist_lock);
	pid_put(p);
	return t;
}

struct thread_group *group_find(pid_t tgid)
{
	struct pid *p = pid_find(task_pid_ns(current), tgid);
	struct thread_group *g;

	if (!p)
		return NULL;
	read_lock(&kernel.tasklist_lock);
	g = p->group ? group_get(p->group) : NULL;
	read_unlock(&kernel.tasklist_lock);
	pid_put(p);
	return g;
}

/* The first id in ns with number >= nr. */
static struct pid *pid_find_from(struct pid_ns *ns, pid_t nr)
{
	struct pid_table *table = ns->table;
	MUTEX_GUARD(&pid_lock);

	for (; nr < GUEST_PID_MAX; nr++) {
		struct pid *p;

		if (!table->pages[nr / PAGE_PIDS]) {
			nr |= PAGE_PIDS - 1;
			continue;
		}
		p = table_get(ns, nr);
		if (p)
			return pid_get(p);
	}
	return NULL;
}

struct thread_group *group_next(struct pid_ns *ns, pid_t *nr)
{
	for (;;) {
		struct pid *p = pid_find_from(ns, *nr);
		struct thread_group *g;

		if (!p)
			return NULL;
		*nr = pid_nr_ns(p, ns);
		read_lock(&kernel.tasklist_lock);
		g = p->group ? group_get(p->group) : NULL;
		read_unlock(&kernel.tasklist_lock);
		pid_put(p);
		if (g)
			return g;
		(*nr)++;
	}
}
