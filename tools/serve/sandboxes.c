/* Sandboxes: as many as may be busy at a time; one is reset when it comes back. */
#include <errno.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>

#include "serve.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static struct moat **idle; /* nidle of them, and room for all */
static unsigned nidle, free_places;
static uint64_t next_ticket, served; /* who asks, and who is next to get */

int sandboxes_init(unsigned n)
{
	idle = calloc(n, sizeof(struct moat *));
	free_places = n;
	return idle ? 0 : -ENOMEM;
}

/* Places for n, in the order of asking: who wants many waits no longer than others. */
static void take_places(struct moat **out, unsigned n)
{
	uint64_t mine;

	pthread_mutex_lock(&lock);
	mine = next_ticket++;
	while (served != mine || nidle + free_places < n)
		pthread_cond_wait(&returned, &lock);
	served++;
	for (unsigned i = 0; i < n; i++) {
		out[i] = nidle ? idle[--nidle] : NULL;
		if (!out[i])
			free_places--;
	}
	pthread_cond_broadcast(&returned);
	pthread_mutex_unlock(&lock);
}

int sandboxes_take(struct moat **out, unsigned n, struct moat_error *err)
{
	int ret = 0;

	take_places(out, n);
	for (unsigned i = 0; i < n && !ret; i++)
		if (!out[i])
			ret = moat_new(&settings.sandbox, &out[i], err);
	if (!ret)
		return 0;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n; i++) {
		if (out[i])
			idle[nidle++] = out[i];
		else
			free_places++;
	}
	pthread_cond_broadcast(&returned);
	pthread_mutex_unlock(&lock);
	return ret;
}

void sandbox_give_back(struct moat *m, bool broken)
{
	if (broken || moat_reset(m, NULL)) {
		moat_destroy(m);
		m = NULL;
	}
	pthread_mutex_lock(&lock);
	if (m)
		idle[nidle++] = m;
	else
		free_places++;
	pthread_cond_broadcast(&returned);
	pthread_mutex_unlock(&lock);
}

void sandboxes_usage(unsigned *busy, unsigned *waiting)
{
	pthread_mutex_lock(&lock);
	*busy = settings.parallel - free_places - nidle;
	*waiting = nidle;
	pthread_mutex_unlock(&lock);
}

void sandboxes_end(void)
{
	while (nidle)
		moat_destroy(idle[--nidle]);
	free(idle);
}
