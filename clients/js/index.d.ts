import type { ChannelKind, Role, Room } from './rooms.d.ts';

export type * from './rooms.d.ts';

/** What has been seen: the last `seq`, and the past of the server's database that it belongs to. */
export interface Position {
  seq: number;
  epoch: string | null;
}

/** The same of a room: its last message, and its last change. */
export interface RoomPosition extends Position {
  revision: number;
}

export interface Store<P> {
  load(): P | null | undefined | Promise<P | null | undefined>;
  /** The event is acknowledged when this is done. A failure makes the server send it again. */
  save(position: P): void | Promise<void>;
}

export interface Storage extends Store<Position> {
  /** Where the position in this room is kept; without it, in memory. */
  room?(channelId: string): Store<RoomPosition>;
}

/** For as long as the page or the process lives. The default. */
export function memoryStorage(position?: Position | null): Storage;
/** In `localStorage` or the like, under a key of this user's own. */
export function webStorage(key: string, store?: Pick<globalThis.Storage, 'getItem' | 'setItem'>): Storage;

/** Why a token is asked for: to connect, because the last one expired, was refused, or will expire soon. */
export type TokenReason = 'connect' | 'expired' | 'rejected' | 'renew';

export interface Options {
  /** Where the socket is, such as `wss://api.example/ws` (`https:` does too); or what says so before each attempt. */
  url: string | ((context: { attempt: number }) => string | Promise<string>);
  /** An access token, for as long as it is good. Give this, or `getToken`. */
  token?: string;
  /**
   * Answers with an access token that is still good. An error that it throws is tried again later, after its
   * `retryAfterMs` if it has one (from a `Retry-After`).
   */
  getToken?: (context: { reason: TokenReason; signal: AbortSignal }) => string | Promise<string>;
  /** Where to begin when `storage` is empty. */
  since?: number;
  epoch?: string;
  storage?: Storage;
  /** Names this device, 1 to 191 characters: a newer connection of the same one replaces the older. */
  deviceId?: string;
  /** Frames that may wait for handlers; beyond, the connection is given up and resumes. Default 2,000. */
  queueMax?: number;
  /** How long handlers and storage have for one event. Default 30 s. */
  handlerTimeoutMs?: number;
  /** How often an event may fail in its handlers before the client stops. Default 5. */
  handlerAttemptsMax?: number;
  /** From the start of a connection to its welcome. Default 15 s. */
  connectTimeoutMs?: number;
  tokenTimeoutMs?: number;
  /** How long the server has to answer a question after a heartbeat of silence. Default 10 s. */
  pongTimeoutMs?: number;
  /** How long the server has to answer a command. Default 60 s. */
  answerTimeoutMs?: number;
  /** How long before the end of a token it is renewed. Default 60 s. */
  renewBeforeMs?: number;
  /** Messages of one room that may wait to be sent. Default 100. */
  sendQueueMax?: number;
  /** How long a message may wait for its answer. Default 2 min. */
  sendTimeoutMs?: number;
  /** A connection that lasts so long ends the growth of waits. Default 10 s. */
  stableAfterMs?: number;
  /** The bound of the first wait, and of all. Defaults 500 ms and 60 s. */
  backoff?: { firstMs?: number; maxMs?: number };
  /**
   * Another WebSocket class. If its `error` or `close` events have a `retryAfterMs`, it is honoured; browsers and
   * Node show nothing of a refused handshake.
   */
  WebSocket?: typeof WebSocket;
  /** Where the API is, for `room.pages`. Default: beside the socket. */
  api?: string | URL;
  fetch?: typeof fetch;
}

interface Durable {
  /** The same everywhere: on the socket, in a push, in the database. */
  id: string;
  /** The place in this user's sequence, which has no gap. */
  seq: number;
  /** Epoch ms. */
  timestamp: number;
}

export type Status = 'AVAILABLE' | 'BUSY' | 'OFFLINE';

export interface PartnerStatusChanged extends Durable {
  type: 'PARTNER_STATUS_CHANGED';
  partnerId: string;
  status: Status;
  /** Epoch ms. */
  statusExpiration: number | null;
}

export interface SelfStatusChanged extends Durable {
  type: 'SELF_STATUS_CHANGED';
  userId: string;
  status: Status;
  /** Epoch ms. */
  statusExpiration: number | null;
}

export interface PartnerLinked extends Durable {
  type: 'PARTNER_LINKED';
  partnerId: string;
}

export interface PartnerUnlinked extends Durable {
  type: 'PARTNER_UNLINKED';
  partnerId: string;
}

/** I made a channel or a group, or somebody a direct conversation with me. */
export interface ChannelCreated extends Durable {
  type: 'CHANNEL_CREATED';
  channelId: string;
  kind: ChannelKind;
  /** Null for a direct conversation. */
  name: string | null;
  isPrivate: boolean;
  createdBy: string;
}

/** Somebody took me in. */
export interface Invited extends Durable {
  type: 'INVITED';
  channelId: string;
  kind: ChannelKind;
  name: string;
  role: Role;
  invitedBy: string;
}

/** I am not in it any more. */
export interface MemberRemoved extends Durable {
  type: 'MEMBER_REMOVED';
  channelId: string;
  userId: string;
  removedBy: string;
}

/** I have read further, on one of my devices. */
export interface SelfReadMarker extends Durable {
  type: 'SELF_READ_MARKER';
  channelId: string;
  lastReadMessageId: string | null;
  lastReadSeq: number;
  unreadCount: number;
}

/** There is news for me in a channel that I do not have on a screen. */
export interface Notification extends Durable {
  type: 'MENTIONED' | 'DIRECT_MESSAGE' | 'CHANNEL_ACTIVITY';
  channelId: string;
  /** Not of a direct conversation. */
  channelName?: string;
  /** The newest message that it is about. */
  messageId: string;
  messageSeq: number;
  /** Who wrote it; null: an account that was deleted. */
  userId: string | null;
  unreadCount: number;
}

/** An event of a later server. Ephemeral events have no `seq`. */
export interface UnknownEvent {
  type: string;
  seq?: number;
  [field: string]: unknown;
}

export type FanlightEvent =
  | PartnerStatusChanged
  | SelfStatusChanged
  | PartnerLinked
  | PartnerUnlinked
  | ChannelCreated
  | Invited
  | MemberRemoved
  | SelfReadMarker
  | Notification;

export type Advice = 'stop' | 'resume' | 'back_off' | 'refresh';

export type ClientState =
  | { state: 'connecting'; attempt: number }
  | { state: 'open'; connectionId: string; node: string; isResumed: boolean }
  | { state: 'waiting'; code: number; reason: string; advice: Advice; waitMs: number }
  /** For good: make another client when what `code` says has changed. */
  | { state: 'stopped'; code: number; reason: string };

/** Too much was missed: read the state by REST. Events go on after `fromSeq`. */
export interface Resync {
  reason: 'too_far_behind' | 'beyond_retention' | 'ahead_of_server' | 'another_past';
  fromSeq: number;
}

/** `signal` is aborted when nobody waits for the handler any more: the event will come again. */
export interface HandlerContext {
  signal: AbortSignal;
}

/** Waited for, one after the other; an error makes the event come again. */
type Handler<T> = (event: T, context: HandlerContext) => unknown;

interface Handlers extends Record<FanlightEvent['type'], unknown> {
  PARTNER_STATUS_CHANGED: PartnerStatusChanged;
  SELF_STATUS_CHANGED: SelfStatusChanged;
  PARTNER_LINKED: PartnerLinked;
  PARTNER_UNLINKED: PartnerUnlinked;
  CHANNEL_CREATED: ChannelCreated;
  INVITED: Invited;
  MEMBER_REMOVED: MemberRemoved;
  SELF_READ_MARKER: SelfReadMarker;
  MENTIONED: Notification;
  DIRECT_MESSAGE: Notification;
  CHANNEL_ACTIVITY: Notification;
  /** Every event. */
  '*': FanlightEvent | UnknownEvent;
  /** Acknowledged like an event: it comes again until a handler has succeeded. */
  resync: Resync;
}

/** How somebody is whom I watch. */
export interface Presence {
  userId: string;
  status: 'online' | 'away' | 'offline';
  /** Epoch ms; null unless `offline`. */
  lastSeen: number | null;
}

interface Listeners {
  state: ClientState;
  /** All that was missed before this connection has been handled. */
  current: { seq: number };
  /** First how each of them is, then what changes. */
  presence: Presence;
  /** What went wrong and is dealt with: for a log. */
  error: Error;
}

export interface Client {
  readonly state: ClientState['state'];
  /** The last event that was handled and stored. */
  readonly seq: number | null;
  readonly epoch: string | null;
  on<K extends keyof Handlers>(type: K, handler: Handler<Handlers[K]>): () => void;
  on<K extends keyof Listeners>(type: K, listener: (value: Listeners[K]) => void): () => void;
  on(type: string, handler: Handler<UnknownEvent>): () => void;
  /**
   * Hears what happens in a room, from where its storage says, or `since` or `revision` if that is empty, or from now on.
   * The same room, if it was joined already.
   */
  join(channelId: string, options?: { since?: number; revision?: number }): Room;
  /** Watches these people, and nobody else. */
  watch(userIds: Iterable<string>): void;
  /** This device shows that room now, or none: what happens there is no news for it. */
  view(channelId: string | null): void;
  setPresence(status: 'online' | 'away'): void;
  /** Ends the connection; resolves when what is being handled is finished. */
  close(): Promise<void>;
}

/** What the server, or this client, does not do. */
export class FanlightError extends Error {
  readonly code: string;
  /** It is worth another try after that. */
  readonly retryAfterMs?: number;
  /** Whether it is worth another try at all. A handler that throws such an error does not count as failing. */
  readonly isPassing: boolean;
}

/** Connects, and stays connected until `close()`, or until the server says that there is no use. */
export function connect(options: Options): Client;

/** The server's table of close codes. */
export const CLOSINGS: ReadonlyArray<Readonly<{ code: number; reason: string; advice: Advice }>>;
export function adviceFor(code: number, reason?: string): Advice;
