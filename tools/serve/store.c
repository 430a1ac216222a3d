/* Files that outlive a run. Ids are random: who has not been told one does not guess it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "serve.h"

struct entry {
	TAILQ_ENTRY(entry) link;
	char id[33];
	struct stored file;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, entry) entries = TAILQ_HEAD_INITIALIZER(entries);
static uint64_t bytes;
static unsigned files;

static void entry_free(struct entry *e)
{
	stored_free(&e->file);
	free(e);
}

static int copy(const char *name, const void *data, size_t size, struct stored *out)
{
	*out = (struct stored){.name = strdup(name), .data = malloc(size + 1), .size = size};
	if (!out->name || !out->data) {
		stored_free(out);
		return -ENOMEM;
	}
	memcpy(out->data, data, size);
	out->data[size] = 0;
	return 0;
}

void stored_free(struct stored *s)
{
	free(s->name);
	free(s->data);
	*s = (struct stored){0};
}

static int make_id(char *id)
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		sprintf(id + 2 * i, "%02x", random[i]);
	return 0;
}

int store_put(const char *name, const void *data, size_t size, char *id)
{
	struct entry *e = calloc(1, sizeof(*e));
	int ret = !e ? -ENOMEM : make_id(e->id);

	if (!ret)
		ret = copy(name, data, size, &e->file);
	if (ret) {
		free(e);
		return ret;
	}
	pthread_mutex_lock(&lock);
	if (bytes + size > settings.store_max) {
		ret = -ENOSPC;
	} else {
		TAILQ_INSERT_TAIL(&entries, e, link);
		bytes += size;
		files++;
		strcpy(id, e->id);
	}
	pthread_mutex_unlock(&lock);
	if (ret)
		entry_free(e);
	return ret;
}

/* Lock held. */
static struct entry *find(const char *id)
{
	struct entry *e;

	TAILQ_FOREACH (e, &entries, link)
		if (!strcmp(e->id, id))
			return e;
	return NULL;
}

int store_get(const char *id, struct stored *out)
{
	struct entry *e;
	int ret;

	pthread_mutex_lock(&lock);
	e = find(id);
	ret = e ? copy(e->file.name, e->file.data, e->file.size, out) : -ENOENT;
	pthread_mutex_unlock(&lock);
	return ret;
}

int store_delete(const char *id)
{
	struct entry *e;

	pthread_mutex_lock(&lock);
	e = find(id);
	if (e) {
		TAILQ_REMOVE(&entries, e, link);
		bytes -= e->file.size;
		files--;
	}
	pthread_mutex_unlock(&lock);
	if (!e)
		return -ENOENT;
	entry_free(e);
	return 0;
}

json_t *store_list(void)
{
	json_t *list = json_object();
	struct entry *e;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH (e, &entries, link)
		json_object_set_new(list, e->id, json_string(e->file.name));
	pthread_mutex_unlock(&lock);
	return list;
}

void store_usage(uint64_t *used, unsigned *n)
{
	pthread_mutex_lock(&lock);
	*used = bytes;
	*n = files;
	pthread_mutex_unlock(&lock);
}
