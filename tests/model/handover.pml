/*
 * One context between the sentry's workers and a hostile stub: who owns it, and which calls are let
 * through. The stub's threads do what the filters allow: they write the slot at any time, ring, and
 * make any call, ordered or not.
 *
 * Names are the code's. A proctype or inline says which file and function it is a model of; `check`
 * sees that those exist, and that numbers are the same. The batch is left out: what is put off is
 * anonymous memory of the process's own, and harms nobody else when it comes late.
 */
#define TURN_SENTRY 1
#define TURN_RESUME 2
#define TURN_COMMAND 4
#define ORDER_NONE 0
#define ORDER_EXPECTED 1
#define ORDER_SEEN 2
#define ORDER_SKIPPED 3
#define END_NONE 0
#define END_AWAITED 1
#define END_RINGING 2
#define END_HERE 3

/* What the context's own thread asks the host for; one call at a time. */
#define CALL_NONE 0
#define CALL_RING 1	   /* the doorbell, with a number that was not taken yet */
#define CALL_AS_ORDERED 2  /* what the last order was; another is only its own death */
#define CALL_LET_THROUGH 3 /* answered, not executed yet: the host may take its time */

#define NOBODY 0
#ifndef MAX_TURNS
#define MAX_TURNS 1 /* commands in a run: bounds it */
#endif

/* the slot: anybody's of the process */
byte turn = TURN_RESUME;

/* struct platform_ctx */
bool in_guest = true; /* state: CTX_GUEST; else CTX_OWNED */
byte order = ORDER_NONE;
byte cmd_end = END_NONE;
byte notif_id; /* an unanswered ring, by its id; 0: none */

/* struct platform_as */
bool dead;

/* the host's kernel */
byte call = CALL_NONE;
bool received; /* the call, by the leader */
bit id;	       /* of the call: tells old from new. notif_id is 1 + id */

/* struct listener */
byte leader = NOBODY;

/* for the assertions */
byte owner = NOBODY; /* who may touch what is the context's own */
bool waits;	     /* its owner waits for a command's end */
bool order_open;     /* from the order to where its end is believed */
byte turns;

#define OWN(w) assert(owner == w)

/* listener.c: listener_answer() */
inline listener_answer(ring)
{
	d_step {
		if
		:: received && ring == 1 + id && call == CALL_RING -> call = CALL_NONE; received = false
		:: else
		fi
	}
}

/* worker.c: ctx_claim() */
inline ctx_claim(w, won)
{
	d_step {
		won = in_guest;
		if
		:: in_guest -> in_guest = false; assert(owner == NOBODY); owner = w
		:: else
		fi
	}
}

/* listener.c: doorbell(), command_end(), order_over() */
inline doorbell(w, ring, won)
{
	ctx_claim(w, won);
	if
	:: won -> OWN(w); notif_id = ring
	:: else ->
		d_step {
			if
			:: cmd_end == END_AWAITED -> cmd_end = END_RINGING
			:: else
			fi
		}
		if
		:: cmd_end == END_RINGING ->
#ifndef BUG_LATE_CALL
			d_step {
				if
				:: order == ORDER_EXPECTED -> order = ORDER_SKIPPED
				:: order == ORDER_SEEN -> order = ORDER_NONE
				:: else
				fi
			}
#endif
			d_step { notif_id = ring; cmd_end = END_HERE }
		:: else -> listener_answer(ring)
		fi
	fi
}

/* listener.c: match_order(), let_through(), tampered() */
inline match_order(ring)
{
	d_step {
		if
		:: order == ORDER_EXPECTED || order == ORDER_SEEN -> order = ORDER_SEEN
		:: else -> dead = true
		fi
	}
	d_step {
		if
		:: !dead && received && ring == 1 + id && call == CALL_AS_ORDERED ->
			call = CALL_LET_THROUGH; received = false
		:: else
		fi
	}
}

/* listener.c: listener_receive(), handle() */
inline listener_receive(w, ring, won)
{
	won = false;
	if
	:: dead
	:: atomic { !dead && call == CALL_RING && !received -> received = true; ring = 1 + id };
		if
		:: turn != TURN_SENTRY -> dead = true
		:: else -> doorbell(w, ring, won)
		fi
	:: atomic { !dead && call == CALL_AS_ORDERED && !received -> received = true; ring = 1 + id };
		match_order(ring)
	fi;
	ring = 0
}

/* worker.c: ctx_wake_stub() */
inline ctx_wake_stub(what, ring)
{
	turn = what;
	listener_answer(ring);
	ring = 0
}

/* command.c: ctx_command(), wait_as_leader(), wait_as_follower(), await_no_end(), disarm() */
inline ctx_command(w, ring, won)
{
	d_step {
		OWN(w);
		order = ORDER_EXPECTED; order_open = true; waits = true;
		ring = notif_id; notif_id = 0; cmd_end = END_AWAITED
	}
	ctx_wake_stub(TURN_COMMAND, ring);
	do
	:: cmd_end == END_HERE -> break
	:: dead -> break
#ifdef BUG_WORD
	/* A follower that takes the turn word for the end. */
	:: leader != w && turn == TURN_SENTRY -> break
#endif
	:: cmd_end != END_HERE && !dead && leader == w -> listener_receive(w, ring, won); assert(!won)
	:: atomic { cmd_end != END_HERE && !dead && leader == NOBODY -> leader = w }
	od;
	/* await_no_end() */
	atomic { cmd_end != END_RINGING -> cmd_end = END_NONE }
	/* disarm() */
	d_step {
		dead = dead || order == ORDER_EXPECTED || order == ORDER_SKIPPED;
		order = ORDER_NONE; order_open = false; waits = false; won = false
	}
}

/* worker.c: give_to_guest(), ctx_take_ring(). A kick may come at any moment. */
inline give_to_guest(w, ring, won, given)
{
	d_step {
#ifndef BUG_EARLY
		OWN(w); ring = notif_id; notif_id = 0;
#endif
		owner = NOBODY; in_guest = true; given = true
	}
	if
	:: ctx_claim(w, won);
		if
		:: won -> d_step { OWN(w); notif_id = ring; given = false; ring = 0 }
		:: else
		fi
	:: !dead
	fi;
	if
	:: given ->
#ifdef BUG_EARLY
		d_step { OWN(w); ring = notif_id; notif_id = 0 }
#endif
		ctx_wake_stub(TURN_RESUME, ring)
	:: else
	fi
}

/* worker.c: systrap_next(), next_loop(), try_claim(), worker_take_lead(), worker_drop_lead() */
proctype worker(byte w)
{
	byte ring;
	bool won, given;

	do
	:: dead && owner != w -> break
	:: dead && owner == w -> owner = NOBODY; break
	/* as leader, for whoever rings */
	:: atomic { leader == NOBODY && !dead && owner != w -> leader = w }
	:: leader == w && owner != w && !dead -> listener_receive(w, ring, won); won = false
	/* an event: a command; or the lead is handed on, as before a lock; or the end of it */
	:: atomic { owner == w && !dead && turns < MAX_TURNS -> turns++ }; ctx_command(w, ring, won)
	:: atomic { owner == w && leader == w -> leader = NOBODY }
	:: owner == w && !dead ->
		give_to_guest(w, ring, won, given);
		/* spin_for_event(), or sleep_for_event() */
		if
		:: given && !dead && turn == TURN_SENTRY -> ctx_claim(w, won)
		:: true
		fi;
		d_step { given = false; won = false; ring = 0 }
	od;
	atomic {
		if
		:: leader == w -> leader = NOBODY
		:: else
		fi
	}
}

/* stub/stub.c: hand_over(), run_command(), and whatever else one can do with its code: the
 * context's own thread. */
proctype stub_thread()
{
	do
	:: dead -> break
	:: atomic { call == CALL_NONE && !dead -> call = CALL_RING; id = 1 - id }
	:: atomic { call == CALL_NONE && !dead -> call = CALL_AS_ORDERED; id = 1 - id }
	/* the host's kernel executes it, some time */
	:: atomic { call == CALL_LET_THROUGH && !dead -> assert(order_open); call = CALL_NONE }
	/* Before Linux 5.19 a kick takes back what was received; at any time what was not. */
	:: atomic { (call == CALL_AS_ORDERED || call == CALL_RING) && !dead ->
			call = CALL_NONE; received = false }
	od
}

/* Any other thread of the process. Nobody looks whether the word is anything else. */
proctype rogue_thread()
{
	do
	:: dead -> break
	:: atomic { !dead && turn != TURN_SENTRY -> turn = TURN_SENTRY }
	od
}

/* watchdog.c: look_at(): patience ends at any moment. */
proctype watchdog()
{
	do
	:: dead -> break
	:: !dead && (waits || in_guest) -> dead = true
	od
}

init {
	atomic {
		run worker(1); run worker(2); run stub_thread(); run rogue_thread(); run watchdog()
	}
}

/* Who waits for a command waits no more some time, whatever the stub does. */
ltl every_order_ends { [] (waits -> <> !waits) }
