/* Sandboxes: as many as may be busy at a time; one is reset when it comes back. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "serve.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static struct moat **idle; /* nidle of them, and room for all */
static unsigned nidle, free_places;

int sandboxes_init(unsigned n)
{
	idle = calloc(n, sizeof(struct moat *));
	free_places = n;
	return idle ? 0 : -ENOMEM;
}

struct moat *sandbox_take(struct moat_error *err)
{
	struct moat *m = NULL;

	pthread_mutex_lock(&lock);
	while (!nidle && !free_places)
		pthread_cond_wait(&returned, &lock);
	if (nidle)
		m = idle[--nidle];
	else
		free_places--;
	pthread_mutex_unlock(&lock);
	if (m || !moat_new(&settings.sandbox, &m, err))
		return m;
	pthread_mutex_lock(&lock);
	free_places++;
	pthread_cond_signal(&returned);
	pthread_mutex_unlock(&lock);
	return NULL;
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
	pthread_cond_signal(&returned);
	pthread_mutex_unlock(&lock);
}

void sandboxes_end(void)
{
	while (nidle)
		moat_destroy(idle[--nidle]);
	free(idle);
}
