/* debug.Stacks, Logging.Change; Profile, which is not there yet. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/internal.h"

#define AT(kind) ((kind)-MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES)

static int run_stacks(struct control_call *call, const Moat__Request *request,
		      struct control_error *err)
{
	char *text = call_backend(call)->stacks(call_ctx(call));
	Moat__Response response = MOAT__RESPONSE__INIT;
	Moat__Text answer = MOAT__TEXT__INIT;

	if (!text)
		return control_fail(err, ENOMEM, "no memory");
	answer.text = text;
	response.result_case = MOAT__RESPONSE__RESULT_TEXT;
	response.text = &answer;
	call_reply(call, &response);
	free(text);
	return 0;
}

static int run_logging_change(struct control_call *call, const Moat__Request *request,
			      struct control_error *err)
{
	const Moat__LoggingChange *change = request->logging_change;

	if (change->set_level && change->level > LOG_LEVEL_DEBUG)
		return control_fail(err, EINVAL, "no log level %u", change->level);
	if (change->set_level)
		log_set_level((enum log_level)change->level);
	if (change->set_strace)
		call_backend(call)->set_strace(call_ctx(call), change->strace);
	call_reply_empty(call);
	return 0;
}

static int run_unsupported(struct control_call *call, const Moat__Request *request,
			   struct control_error *err)
{
	return control_fail(err, EOPNOTSUPP, "%s is not supported", call->method->name);
}

const struct service_method debug_methods[] = {
	[AT(MOAT__REQUEST__CALL_CREATE_LINKS_AND_ROUTES)] = {"Network.CreateLinksAndRoutes",
							     network_create_links, true,
							     CONTROL_FDS_MAX},
	[AT(MOAT__REQUEST__CALL_SET_EGRESS)] = {"Network.SetEgress", network_set_egress, true, 0},
	[AT(MOAT__REQUEST__CALL_GET_EGRESS)] = {"Network.GetEgress", network_get_egress, true, 0},
	[AT(MOAT__REQUEST__CALL_STACKS)] = {"debug.Stacks", run_stacks, true, 0},
	[AT(MOAT__REQUEST__CALL_LOGGING_CHANGE)] = {"Logging.Change", run_logging_change, false, 0},
	[AT(MOAT__REQUEST__CALL_PROFILE)] = {"Profile", run_unsupported, false, 0},
};
