/* Network.SetEgress and Network.GetEgress: the form of what came; its sense is the stack's to say.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/internal.h"

#define RULES_MAX 1024
#define PORTS_MAX 16
#define RESOLVERS_MAX 16
#define NAME_MAX_LEN 255

static int check_rule(const Moat__EgressRule *r, size_t i, struct control_error *err)
{
	const char *wrong = NULL;

	if (strlen(r->name) > NAME_MAX_LEN)
		wrong = "name: too long";
	else if (r->address.len && r->address.len != 4 && r->address.len != 16)
		wrong = "address: expected 4 or 16 bytes";
	else if (r->prefix > r->address.len * 8)
		wrong = "prefix: longer than the address";
	else if (r->protocol > 255)
		wrong = "protocol: above 255";
	else if (r->n_ports > PORTS_MAX)
		wrong = "ports: too many";
	return wrong ? control_fail(err, EINVAL, "rules[%zu].%s", i, wrong) : 0;
}

int network_set_egress(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	const Moat__EgressPolicy *policy = request->set_egress;
	int ret = 0;

	if (policy->n_rules > RULES_MAX)
		return control_fail(err, EINVAL, "rules: too many");
	if (policy->n_resolvers > RESOLVERS_MAX)
		return control_fail(err, EINVAL, "resolvers: too many");
	for (size_t i = 0; !ret && i < policy->n_rules; i++)
		ret = check_rule(policy->rules[i], i, err);
	for (size_t i = 0; !ret && i < policy->n_resolvers; i++)
		if (policy->resolvers[i].len != 4 && policy->resolvers[i].len != 16)
			ret = control_fail(err, EINVAL, "resolvers[%zu]: expected 4 or 16 bytes",
					   i);
	if (!ret && !call_backend(call)->set_egress)
		ret = control_fail(err, EOPNOTSUPP, "there is no network");
	if (!ret)
		ret = call_backend(call)->set_egress(call_ctx(call), policy, err);
	if (!ret)
		call_reply_empty(call);
	return ret;
}

int network_get_egress(struct control_call *call, const Moat__Request *request,
		       struct control_error *err)
{
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__EgressStatus *status;
	int ret;

	if (!call_backend(call)->get_egress)
		return control_fail(err, EOPNOTSUPP, "there is no network");
	ret = call_backend(call)->get_egress(call_ctx(call), &status, err);
	if (ret)
		return ret;
	response.result_case = MOAT__RESPONSE__RESULT_EGRESS;
	response.egress = status;
	call_reply(call, &response);
	moat__egress_status__free_unpacked(status, NULL);
	return 0;
}
