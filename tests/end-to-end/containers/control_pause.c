/*
 * control_pause SOCKET ID CYCLES: pauses a container and lets it go on, again and again.
 * CYCLES 0: until it has ended, at least 20 times.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/client.h"

#define CALL_MS 60000
#define LEAST 20

static int call(struct control_client *c, char *id, bool pause, struct control_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;

	name.id = id;
	request.call_case = pause ? MOAT__REQUEST__CALL_PAUSE : MOAT__REQUEST__CALL_RESUME;
	if (pause)
		request.pause = &name;
	else
		request.resume = &name;
	return control_client_call(c, &request, NULL, 0, CALL_MS, NULL, err);
}

int main(int argc, char **argv)
{
	struct control_client *c;
	struct control_error err = {0};
	int cycles, n = 0, ret;

	if (argc != 4)
		return 2;
	cycles = atoi(argv[3]);
	ret = control_client_connect(argv[1], &c);
	if (ret) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-ret));
		return 1;
	}
	srand(1);
	for (; !cycles || n < cycles; n++) {
		ret = call(c, argv[2], true, &err);
		if (ret)
			break;
		usleep((useconds_t)(rand() % 1000));
		ret = call(c, argv[2], false, &err);
		if (ret)
			break;
		usleep((useconds_t)(rand() % 3000));
	}
	control_client_free(c);
	printf("%d cycles\n", n);
	if (!cycles && n >= LEAST)
		return 0;
	if (ret)
		fprintf(stderr, "after %d cycles: %s\n", n, err.text);
	return ret || n < LEAST ? 1 : 0;
}
