/* moat ps: the processes of a container. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/compiler.h"
#include "tools/moat/bundle.h"

#define CALL_MS 30000

static void clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void print_process(const Moat__Process *p)
{
	time_t started = (time_t)(p->started_ns / 1000000000);
	unsigned long cpu = (unsigned long)(p->cpu_ns / 1000000000);
	char when[16] = "?";
	struct tm tm;

	if (localtime_r(&started, &tm))
		strftime(when, sizeof(when), "%H:%M", &tm);
	clean(p->command);
	clean(p->terminal);
	printf("%-8u %5d %5d %2d %-5s %-8s %02lu:%02lu:%02lu %s\n", p->uid, p->pid, p->parent, 0,
	       when, p->terminal, cpu / 3600, cpu / 60 % 60, cpu % 60, p->command);
}

static int print_table(const struct cli_options *options, const struct state *s)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	Moat__Response *response = NULL;
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	if (ret)
		return cli_fail("container not running");
	name.id = s->id;
	request.call_case = MOAT__REQUEST__CALL_PROCESSES;
	request.processes = &name;
	ret = control_client_call(client, &request, NULL, 0, CALL_MS, &response, &err);
	control_client_free(client);
	if (ret)
		return cli_fail("ps: %s", err.text);
	puts("UID        PID  PPID  C STIME TTY          TIME CMD");
	if (response->result_case == MOAT__RESPONSE__RESULT_PROCESS_LIST)
		for (size_t i = 0; i < response->process_list->n_processes; i++)
			print_process(response->process_list->processes[i]);
	control_response_free(response);
	return 0;
}

static int run_ps(const struct cli_options *options, int argc, char **argv)
{
	static const struct option flags[] = {{"format", required_argument, NULL, 'f'}, {0}};
	struct state s = {0};
	bool json = false;
	int c, ret;

	while ((c = getopt_long(argc, argv, "+:f:", flags, NULL)) != -1) {
		if (c == '?' || c == ':') {
			cli_bad_flag("ps", argv, c);
			return EXIT_CLI_FAILED;
		}
		json = !strcmp(optarg, "json");
		if (!json && strcmp(optarg, "table"))
			return cli_fail("invalid format option");
	}
	if (optind == argc)
		return cli_fail("ps: no container id given (see 'moat help ps')");
	ret = load_container(options, argv[optind], &s);
	if (ret)
		return ret;
	if (!json)
		ret = print_table(options, &s);
	else if (state_status(&s) == STATUS_STOPPED)
		printf("null\n");
	else
		/* The host's number: the only one that means something there. */
		printf("[%d]\n", s.pid);
	state_free(&s);
	return ret;
}

const struct cli_command cli_ps = {
	.name = "ps",
	.usage = "[--format table|json] ID",
	.summary = "List the processes of a container",
	.flags = "  --format FORMAT, -f     table (default), or json: the container's process on\n"
		 "                          the host\n",
	.run = run_ps,
};
