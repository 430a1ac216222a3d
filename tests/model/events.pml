/*
 * One context with an honest stub, and two workers, of which one may poll where the other receives,
 * while the watchdog may lose patience with both: every hand-over of the stub is taken once, by one of them, as what it is; no honest ring is taken
 * for tampering; and no hand-over is forgotten.
 *
 * Names are the code's, as in handover.pml, which leaves the numbers out and has the hostile stub.
 */
#define TURN_SENTRY 1
#define TURN_RESUME 2
#define TURN_COMMAND 4
#define END_NONE 0
#define END_AWAITED 1
#define END_RINGING 2
#define END_HERE 3
#define WAKE_NONE 0
#define WAKE_DOORBELL 2

#ifndef HAND_OVERS
#define HAND_OVERS 3 /* of the stub, in a run */
#endif
#ifndef KICKS
#define KICKS 1
#endif
#define NOBODY 0

/* the slot */
byte turn = TURN_RESUME;
byte wake = WAKE_NONE;
byte slot_seq;
bool stub_sleeping, asleep;

/* struct platform_ctx */
bool in_guest = true; /* these two are the word `state` */
byte visit;
byte seq;
byte cmd_end = END_NONE;
byte notif_id; /* 1 + id, or 0 */

/* the host's kernel: the stub's ring */
bool rings, received, interrupted;
byte ring_seq;
bit id;

byte leader = NOBODY;
byte owner = NOBODY;
byte taken; /* hand-overs, for the assertions */
bool watched; /* the watchdog takes one event, no more */
bool over;

/* listener.c: listener_answer() */
inline listener_answer(ring)
{
	d_step {
		answered = rings && received && ring == 1 + id;
		if
		:: answered -> rings = false
		:: else
		fi
	}
}

/* event.c: ctx_wake_stub() */
inline ctx_wake_stub(what, ring)
{
	turn = what;
	listener_answer(ring);
	if
	:: !answered && stub_sleeping -> asleep = false
	:: else
	fi;
	ring = 0
}

/* worker.c: ctx_claim_visit() */
inline ctx_claim_visit(w, v)
{
	d_step {
#ifdef BUG_VISIT
		won = in_guest;
#else
		won = in_guest && visit == v;
#endif
		if
		:: won -> in_guest = false; assert(owner == NOBODY); owner = w
		:: else
		fi
	}
}

/* A hand-over was taken: it is the next one, and the stub stands still. */
inline take()
{
	d_step { taken++; assert(slot_seq == taken); assert(turn == TURN_SENTRY) }
}

/* listener.c: command_end(), is_late() */
inline command_end(w)
{
	d_step {
		ringing = cmd_end == END_AWAITED;
		if
		:: ringing -> cmd_end = END_RINGING
		:: else
		fi
	}
#ifndef BUG_END
	if
	:: ringing && r_seq <= seq -> ringing = false; cmd_end = END_AWAITED
	:: else
	fi;
#endif
	if
	:: ringing -> seq = r_seq; notif_id = ring; take(); cmd_end = END_HERE
	:: else -> listener_answer(ring)
	fi
}

/* listener.c: doorbell(), is_late() */
inline doorbell(w)
{
	again = true;
	do
	:: !again -> break
	:: again ->
		d_step { v = visit; v_guest = in_guest };
#ifdef BUG_ORDER
		n = seq; t = turn; again = false;
#else
		t = turn; n = seq;
		again = r_seq > n && (v != visit || v_guest != in_guest);
#endif
	od;
	if
	:: r_seq <= n -> listener_answer(ring)
	:: else ->
		assert(t == TURN_SENTRY); /* or it is tampering */
		won = false;
		if
		:: v_guest -> ctx_claim_visit(w, v)
		:: else
		fi;
		if
		:: won -> seq = r_seq; notif_id = ring; take()
		:: else -> command_end(w)
		fi
	fi
}

/* listener.c: listener_receive() */
inline listener_receive(w)
{
	won = false;
	if
	:: atomic { rings && !received -> received = true; ring = 1 + id; r_seq = ring_seq };
		doorbell(w)
	:: !rings /* ENOENT: it was taken back */
	fi;
	d_step { ring = 0; n = 0; t = 0; v = 0; v_guest = false; ringing = false; r_seq = 0 }
}

/* command.c: ctx_command(), wait_as_leader(), wait_as_follower() */
inline ctx_command(w)
{
	wake = WAKE_DOORBELL;
	d_step { ring = notif_id; notif_id = 0; cmd_end = END_AWAITED };
	ctx_wake_stub(TURN_COMMAND, ring);
	do
	:: cmd_end == END_HERE -> break
	:: cmd_end != END_HERE && leader == w && rings && !received -> listener_receive(w)
	:: atomic { cmd_end != END_HERE && leader == NOBODY -> leader = w }
	od;
	skip;
	d_step { cmd_end = END_NONE; won = false }
}

/* worker.c: try_claim() */
inline try_claim(w, v)
{
	won = false;
	if
	:: turn == TURN_SENTRY -> ctx_claim_visit(w, v)
	:: else
	fi;
	if
	:: won -> seq = slot_seq; take()
	:: else
	fi
}

/* worker.c: worker_take_late(); the watchdog dispatches, here to itself */
inline take_late(w)
{
	v = visit;
	if
#ifdef BUG_LATE
	:: in_guest -> try_claim(w, v)
#else
	:: in_guest && slot_seq != seq -> try_claim(w, v)
#endif
	:: else
	fi;
	v = 0
}

/* worker.c: systrap_next(), give_to_guest(), spin_for_event(), next_loop() */
proctype worker(byte w; bool polls)
{
	byte ring, mine, v, t, n, r_seq;
	bool won, answered, again, v_guest, ringing, commanded;

	if
	:: polls -> goto poll
	:: else
	fi;
end_idle:
	do
	:: over -> break
	:: atomic { leader == NOBODY && owner != w -> leader = w }
	:: leader == w && owner != w && rings && !received -> listener_receive(w)
	:: atomic { w == 2 && owner != w && !watched && in_guest && turn == TURN_SENTRY -> watched = true };
		take_late(w); won = false
	/* before it blocks in what it does for the guest */
	:: atomic { leader == w && owner == w -> leader = NOBODY }
	:: owner == w && !commanded && slot_seq < HAND_OVERS -> commanded = true; ctx_command(w)
	:: owner == w ->
		commanded = false;
		if
		:: leader != w -> wake = WAKE_NONE; polls = true
		:: wake = WAKE_DOORBELL; polls = false
		fi;
		d_step {
			ring = notif_id; notif_id = 0;
			owner = NOBODY; visit++; in_guest = true; mine = visit
		};
		ctx_wake_stub(TURN_RESUME, ring);
poll:		if
		:: polls ->
			polls = false;
			do
			:: turn == TURN_SENTRY -> try_claim(w, mine); break
			:: break
			od;
			if
			:: owner != w ->
				d_step {
					if
					:: wake == WAKE_NONE -> wake = WAKE_DOORBELL
					:: else
					fi
				};
				try_claim(w, mine)
			:: else
			fi
		:: else
		fi;
		d_step { won = false; mine = 0; answered = false }
	od
}

/* stub/stub.c: hand_over(), wait_turn(). Between two of them the guest runs, or a command. */
proctype stub_thread()
{
	do
	:: slot_seq == HAND_OVERS -> break
	:: else ->
		slot_seq++;
		turn = TURN_SENTRY;
		if
		:: wake != WAKE_DOORBELL
		:: wake == WAKE_DOORBELL ->
			do
			:: d_step { rings = true; received = false; interrupted = false; id = 1 - id; ring_seq = slot_seq };
				!rings;
				if
				:: interrupted && turn == TURN_SENTRY
				:: else -> break
				fi
			od
		fi;
		stub_sleeping = true;
		do
		:: atomic { turn == TURN_SENTRY -> asleep = true }; !asleep
		:: turn != TURN_SENTRY -> break
		od;
		stub_sleeping = false
	od;
	over = true
}

/* worker.c: systrap_kick(): before Linux 5.19 it takes back the ring, received or not. */
proctype kicks()
{
	byte k;

end_kicks:
	do
	:: atomic { k < KICKS && rings -> k++; interrupted = true; rings = false }
	:: k == KICKS || over -> break
	od
}

init {
	atomic { run worker(1, true); run worker(2, false); run stub_thread(); run kicks() }
}
