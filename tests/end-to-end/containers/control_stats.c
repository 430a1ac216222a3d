/* control_stats SOCKET ID: what a container uses, one name and number a line. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/client.h"

#define CALL_MS 60000

int main(int argc, char **argv)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	struct control_error err = {0};
	struct control_client *c;
	Moat__Response *response;
	const Moat__Stats *s;
	int ret;

	if (argc != 3)
		return 2;
	ret = control_client_connect(argv[1], &c);
	if (ret) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-ret));
		return 1;
	}
	name.id = argv[2];
	request.call_case = MOAT__REQUEST__CALL_EVENT;
	request.event = &name;
	ret = control_client_call(c, &request, NULL, 0, CALL_MS, &response, &err);
	control_client_free(c);
	if (ret || response->result_case != MOAT__RESPONSE__RESULT_STATS) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	s = response->stats;
	printf("total %" PRIu64 "\nuser %" PRIu64 "\nkernel %" PRIu64 "\n", s->cpu->total_ns,
	       s->cpu->user_ns, s->cpu->kernel_ns);
	printf("memory %" PRIu64 "\nmax %" PRIu64 "\npids %" PRIu64 "\nsandbox %" PRIu64 "\n",
	       s->memory->usage, s->memory->max, s->pids, s->sandbox_cpu_ns);
	for (size_t i = 0; i < s->n_containers; i++)
		printf("of-%s %" PRIu64 "\n", s->containers[i]->id, s->containers[i]->cpu_ns);
	control_response_free(response);
	return 0;
}
