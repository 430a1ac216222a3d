#include "base/lock_order.h"

#ifdef MOAT_DEBUG

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define MAX_CLASSES 320
#define MAX_EDGES 8192
#define MAX_HELD 48
#define STACK_DEPTH 14

struct held {
	const void *lock;
	const char *site;
	uint32_t class;
};

static __thread struct {
	unsigned n;
	struct held locks[MAX_HELD];
} mine;

/* "from" was held at from_site when somebody waited for "to" at to_site. */
struct edge {
	const char *from_site, *to_site;
	uintptr_t stack[STACK_DEPTH];
};

/* Class and edge 0 stand for none. All but `after`, which only grows, under the lock. */
static struct {
	pthread_mutex_t lock;
	unsigned nclasses, nedges;
	struct {
		const char *name;
		uint32_t flags;
	} classes[MAX_CLASSES];
	uint16_t after[MAX_CLASSES][MAX_CLASSES]; /* [from][to]: the edge */
	struct edge edges[MAX_EDGES];
} graph = {.lock = PTHREAD_MUTEX_INITIALIZER, .nclasses = 1, .nedges = 1};

/* Where the program was loaded, to which addr2line's addresses are relative; and its code's end. */
extern const char __executable_start[], etext[];

/* By frame pointers, which all of our code has; ends where a frame is not plausible. */
static __attribute__((noinline, no_sanitize("address"))) void
take_stack(uintptr_t stack[STACK_DEPTH])
{
	const uintptr_t *frame = __builtin_frame_address(0);
	unsigned n = 0;

	memset(stack, 0, STACK_DEPTH * sizeof(stack[0]));
	while (n < STACK_DEPTH && frame[1]) {
		uintptr_t up = frame[0];

		/* Those of libraries are left out: where they lie nobody knows any more. */
		if (frame[1] > (uintptr_t)__executable_start && frame[1] <= (uintptr_t)etext)
			stack[n++] = frame[1] - (uintptr_t)__executable_start - 1;
		if (up <= (uintptr_t)frame || up - (uintptr_t)frame > 65536 || up % sizeof(up))
			break;
		frame = (const uintptr_t *)up;
	}
}

static void print_stack(const char *whose, const uintptr_t stack[STACK_DEPTH])
{
	char line[32 * STACK_DEPTH];
	size_t n = 0;

	line[0] = 0;
	for (unsigned i = 0; i < STACK_DEPTH && stack[i]; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " %#lx", stack[i]);
	log_error("  %s: addr2line -pfie PROGRAM%s", whose, line);
}

static __noreturn void give_up(const char *what)
{
	uintptr_t stack[STACK_DEPTH];

	for (unsigned i = 0; i < mine.n; i++)
		log_error("  held: %s", mine.locks[i].site);
	take_stack(stack);
	print_stack("stack", stack);
	panic("lock order: %s", what);
}

static uint32_t add_class(const struct lock_tag *tag)
{
	unsigned i;

	for (i = 1; i < graph.nclasses; i++)
		if (graph.classes[i].name == tag->name || !strcmp(graph.classes[i].name, tag->name))
			return i;
	if (i == MAX_CLASSES)
		give_up("MAX_CLASSES is too small");
	graph.classes[i].name = tag->name;
	graph.classes[i].flags = tag->flags;
	graph.nclasses++;
	return i;
}

static uint32_t class_of(struct lock_tag *tag)
{
	uint32_t class = __atomic_load_n(&tag->class, __ATOMIC_ACQUIRE);

	if (class)
		return class;
	if (!tag->name)
		give_up("a lock that nobody has initialised");
	pthread_mutex_lock(&graph.lock);
	class = add_class(tag);
	pthread_mutex_unlock(&graph.lock);
	__atomic_store_n(&tag->class, class, __ATOMIC_RELEASE);
	return class;
}

static bool is_learnt(uint32_t from, uint32_t to)
{
	return __atomic_load_n(&graph.after[from][to], __ATOMIC_ACQUIRE);
}

/* Is there a way of edges between them? via[x] is then the class before x on it. */
static bool find_way(uint32_t from, uint32_t to, uint16_t via[MAX_CLASSES])
{
	uint16_t queue[MAX_CLASSES];
	unsigned head = 0, tail = 0;

	memset(via, 0, MAX_CLASSES * sizeof(via[0]));
	queue[tail++] = (uint16_t)from;
	via[from] = (uint16_t)from;
	while (head < tail) {
		unsigned at = queue[head++];

		if (at == to)
			return true;
		for (unsigned next = 1; next < graph.nclasses; next++)
			if (!via[next] && graph.after[at][next]) {
				via[next] = (uint16_t)at;
				queue[tail++] = (uint16_t)next;
			}
	}
	return false;
}

/* h is held and `to` wanted, but a way goes from `to` to h's class. */
static __noreturn void report_circle(const struct held *h, uint32_t to, const char *site,
				     const uint16_t via[MAX_CLASSES])
{
	log_error("lock order: %s is waited for while %s is held; learnt before, last first:", site,
		  h->site);
	for (unsigned at = h->class; at != to; at = via[at]) {
		const struct edge *e = &graph.edges[graph.after[via[at]][at]];

		log_error("  %s was waited for while %s was held", e->to_site, e->from_site);
		print_stack("  its stack", e->stack);
	}
	give_up("a circle");
}

static void learn(const struct held *h, uint32_t to, const char *site)
{
	uint16_t via[MAX_CLASSES];
	struct edge *e;

	pthread_mutex_lock(&graph.lock);
	if (!is_learnt(h->class, to)) {
		if (find_way(to, h->class, via))
			report_circle(h, to, site, via);
		if (graph.nedges == MAX_EDGES)
			give_up("MAX_EDGES is too small");
		e = &graph.edges[graph.nedges];
		e->from_site = h->site;
		e->to_site = site;
		take_stack(e->stack);
		__atomic_store_n(&graph.after[h->class][to], (uint16_t)graph.nedges++,
				 __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&graph.lock);
}

static void check_same_class(const struct held *h, const void *lock, const char *site)
{
	uint32_t flags = graph.classes[h->class].flags;

	if (flags & LOCK_NESTS || (flags & LOCK_BY_ADDRESS && lock > h->lock))
		return;
	log_error("lock order: %s is waited for while %s, of the same class, is held", site,
		  h->site);
	give_up(flags & LOCK_BY_ADDRESS ? "not the lower address first" : "two of one class");
}

void lock_order_wants(struct lock_tag *tag, const void *lock, const char *site, enum lock_wait how)
{
	uint32_t class = class_of(tag);

	for (unsigned i = 0; i < mine.n; i++) {
		const struct held *h = &mine.locks[i];

		if (h->lock == lock && how != LOCK_TRIES) {
			log_error("lock order: %s is held already", site);
			give_up("taken twice by one thread");
		}
		if (how == LOCK_TRIES)
			continue;
		if (how == LOCK_WAITS_WITHOUT_LEAD && graph.classes[h->class].flags & LOCK_IS_LEAD)
			continue;
		if (h->class == class)
			check_same_class(h, lock, site);
		else if (!is_learnt(h->class, class))
			learn(h, class, site);
	}
}

void lock_order_taken(struct lock_tag *tag, const void *lock, const char *site)
{
	if (mine.n == MAX_HELD)
		give_up("MAX_HELD is too small");
	mine.locks[mine.n++] = (struct held){.lock = lock, .site = site, .class = class_of(tag)};
}

void lock_order_released(struct lock_tag *tag, const void *lock, const char *site)
{
	for (unsigned i = mine.n; i-- > 0;)
		if (mine.locks[i].lock == lock) {
			memmove(&mine.locks[i], &mine.locks[i + 1],
				(--mine.n - i) * sizeof(mine.locks[0]));
			return;
		}
	log_error("lock order: %s (%s) is unlocked", site, tag->name ? tag->name : "not a lock");
	give_up("not held by this thread");
}

void lock_order_waits(struct lock_tag *tag, const char *site)
{
	uint32_t class = class_of(tag);

	for (unsigned i = 0; i < mine.n; i++)
		if (mine.locks[i].class != class && !is_learnt(mine.locks[i].class, class))
			learn(&mine.locks[i], class, site);
}

void lock_order_sleeps(const void *except, const char *site)
{
	for (unsigned i = 0; i < mine.n; i++) {
		if (mine.locks[i].lock == except)
			continue;
		log_error("lock order: sleeps at %s", site);
		give_up("asleep with a lock held, or while leading");
	}
}

void lock_order_no_lead(const char *site)
{
	for (unsigned i = 0; i < mine.n; i++)
		if (graph.classes[mine.locks[i].class].flags & LOCK_IS_LEAD) {
			log_error("lock order: waits at %s", site);
			give_up("waits for others while leading");
		}
}

void lock_order_print(int fd)
{
	pthread_mutex_lock(&graph.lock);
	for (unsigned from = 1; from < graph.nclasses; from++)
		for (unsigned to = 1; to < graph.nclasses; to++) {
			const struct edge *e = &graph.edges[graph.after[from][to]];

			if (graph.after[from][to])
				dprintf(fd, "lock order: %s | %s | %s | %s\n",
					graph.classes[from].name, graph.classes[to].name,
					e->from_site, e->to_site);
		}
	pthread_mutex_unlock(&graph.lock);
}

void lock_order_command(const char *site)
{
	for (unsigned i = 0; i < mine.n; i++)
		if (!(graph.classes[mine.locks[i].class].flags &
		      (LOCK_OVER_COMMANDS | LOCK_IS_LEAD))) {
			log_error("lock order: command at %s while %s is held", site,
				  mine.locks[i].site);
			give_up("a command with a lock held that may not be");
		}
}

#endif
