/* moat egress: what may leave a running sandbox. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "boot/spec/egress.h"
#include "boot/net/egress.h"
#include "tools/moat/bundle.h"

#define CALL_MS 30000

static json_t *names_of(const Moat__EgressStatus *status)
{
	json_t *list = json_array();
	char text[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < status->n_names; i++) {
		const Moat__EgressStatus__Name *n = status->names[i];

		if (n->address.len != 4 && n->address.len != 16)
			continue;
		inet_ntop(n->address.len == 4 ? AF_INET : AF_INET6, n->address.data, text,
			  sizeof(text));
		json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", n->name, "address",
						      text, "seconds", (json_int_t)n->seconds));
	}
	return list;
}

static int print_status(const Moat__EgressStatus *status)
{
	struct net_egress_config c;
	char *__free policy = NULL, *__free text = NULL;
	json_t *j;

	if (!status || !status->policy || egress_from_wire(status->policy, &c))
		return cli_fail("egress: the sandbox's answer makes no sense");
	policy = egress_format(&c);
	net_egress_free(&c);
	j = policy ? json_loads(policy, 0, NULL) : NULL;
	j = j ? json_pack("{s:o, s:I, s:I, s:o}", "policy", j, "refused",
			  (json_int_t)status->refused, "questions", (json_int_t)status->questions,
			  "names", names_of(status))
	      : NULL;
	text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	json_decref(j);
	if (!text)
		return cli_fail("egress: the sandbox's answer makes no sense");
	return puts(text) < 0 || fflush(stdout) ? cli_fail("egress: standard output") : 0;
}

static int call(const struct cli_options *options, const struct state *s, Moat__Request *request,
		Moat__Response **response)
{
	struct control_client *client;
	struct control_error err;
	int ret = connect_container(options, s, &client);

	if (ret)
		return cli_fail("container not running");
	ret = control_client_call(client, request, NULL, 0, CALL_MS, response, &err);
	control_client_free(client);
	return ret ? cli_fail("egress: %s", err.text) : 0;
}

static int show(const struct cli_options *options, const struct state *s)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;
	Moat__Response *response;
	int ret;

	request.call_case = MOAT__REQUEST__CALL_GET_EGRESS;
	request.get_egress = &empty;
	ret = call(options, s, &request, &response);
	if (ret)
		return ret;
	ret = print_status(response->result_case == MOAT__RESPONSE__RESULT_EGRESS ? response->egress
										  : NULL);
	control_response_free(response);
	return ret;
}

static int change(const struct cli_options *options, const struct state *s, const char *value)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	struct net_egress_config c;
	char err[512];
	int ret;

	if (egress_read(value, &c, err, sizeof(err)))
		return cli_fail("egress: %s", err);
	request.call_case = MOAT__REQUEST__CALL_SET_EGRESS;
	request.set_egress = egress_to_wire(&c);
	net_egress_free(&c);
	if (!request.set_egress)
		return cli_fail("egress: no memory");
	ret = call(options, s, &request, NULL);
	moat__egress_policy__free_unpacked(request.set_egress, NULL);
	return ret;
}

static int run_egress(const struct cli_options *options, int argc, char **argv)
{
	struct state s = {0};
	int ret;

	if (argc != 2 && argc != 3)
		return cli_fail("egress: an id is needed, and a policy to change it (see 'moat "
				"help egress')");
	ret = load_container(options, argv[1], &s);
	if (!ret)
		ret = argc == 2 ? show(options, &s) : change(options, &s, argv[2]);
	state_free(&s);
	return ret;
}

const struct cli_command cli_egress = {
	.name = "egress",
	.usage = "ID [POLICY]",
	.summary = "Show or change what may leave a container's sandbox",
	.flags = "POLICY is allow, deny, or a file with rules (- is standard input); without it "
		 "the\n"
		 "one that holds is printed, with what was refused, and the names that are open.\n"
		 "Connections that a new policy refuses end.\n",
	.run = run_egress,
};
