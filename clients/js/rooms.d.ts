/** Rooms: what happens in them, and what is said there. */

export type ChannelKind = 'channel' | 'group' | 'direct';

export type Role = 'owner' | 'admin' | 'member';

/** As `GET /messages/{id}` answers it. */
export interface Message {
  id: string;
  channelId: string;
  /** Its place among the messages of its room: from 1, without a gap. */
  seq: number;
  /** Null: an account that was deleted. */
  userId: string | null;
  /** Empty once deleted. */
  content: string;
  messageType: 'text' | 'image' | 'file' | 'system';
  metadata: Record<string, unknown>;
  /** The message that began the thread, if this is a reply. */
  parentId: string | null;
  isEdited: boolean;
  isDeleted: boolean;
  /** ISO 8601, in UTC. */
  createdAt: string;
  updatedAt: string;
  mentions: string[];
  reactions: { emoji: string; userIds: string[] }[];
  /** What each holds: `GET /uploads/{id}`. */
  attachments: { id: string; name: string; contentType: string; size: number }[];
}

/** One of the room's changes, each of which comes once and in order. */
interface Change {
  channelId: string;
  /** Its place among the changes of the room. */
  revision: number;
  /** Epoch ms. */
  timestamp: number;
}

export interface MessageCreated extends Change, Message {
  type: 'MESSAGE_CREATED';
  /** What its author called it, in `send`. */
  clientId?: string;
}

export interface MessageEdited extends Change, Message {
  type: 'MESSAGE_EDITED';
}

export interface MessageDeleted extends Change {
  type: 'MESSAGE_DELETED';
  id: string;
  seq: number;
  /** Who deleted it. */
  userId: string;
}

export interface ReactionChanged extends Change {
  type: 'REACTION_ADDED' | 'REACTION_REMOVED';
  messageId: string;
  userId: string;
  emoji: string;
}

/** Something that is told to who is there, and not told again. */
interface Passing {
  channelId: string;
  /** Epoch ms. */
  timestamp: number;
}

/** Somebody has read so far. The greater `lastReadSeq` counts. */
export interface ReadMarker extends Passing {
  type: 'READ_MARKER';
  userId: string;
  lastReadMessageId: string | null;
  lastReadSeq: number;
}

/** Rather listen to `typing`, which also forgets. */
export interface TypingChanged extends Passing {
  type: 'TYPING';
  userId: string;
  isTyping: boolean;
}

export interface ChannelUpdated extends Passing {
  type: 'CHANNEL_UPDATED';
  name: string | null;
  description: string | null;
  isPrivate: boolean;
}

export interface ChannelDeleted extends Passing {
  type: 'CHANNEL_DELETED';
  deletedBy: string;
}

export interface MemberAdded extends Passing {
  type: 'MEMBER_ADDED';
  userId: string;
  role: Role;
  addedBy: string;
}

export interface MemberGone extends Passing {
  type: 'MEMBER_REMOVED';
  userId: string;
  removedBy: string;
}

/** Read the room's state by REST: changes go on after `revision`, messages after `fromSeq`. */
export interface RoomResync {
  /** `new`: nothing of this room was heard before. */
  reason: 'new' | 'too_far_behind' | 'ahead_of_server' | 'another_past';
  fromSeq: number;
  revision: number;
}

export type RoomState =
  /** For a connection. */
  | { state: 'waiting' }
  | { state: 'joining' }
  /** All that was missed before has been handled. */
  | { state: 'live'; seq: number; revision: number }
  /**
   * For good; join again when that has changed. `removed` and `gone` by the server, `left` by the app, `stopped` with the
   * client, or why the server refuses to let this user in: `forbidden`, `not_found`, `too_many_subscriptions` …
   */
  | { state: 'ended'; reason: string };

interface RoomHandlers {
  MESSAGE_CREATED: MessageCreated;
  MESSAGE_EDITED: MessageEdited;
  MESSAGE_DELETED: MessageDeleted;
  REACTION_ADDED: ReactionChanged;
  REACTION_REMOVED: ReactionChanged;
  READ_MARKER: ReadMarker;
  TYPING: TypingChanged;
  CHANNEL_UPDATED: ChannelUpdated;
  CHANNEL_DELETED: ChannelDeleted;
  MEMBER_ADDED: MemberAdded;
  MEMBER_REMOVED: MemberGone;
  /** Everything that happens there. */
  '*': { type: string; channelId: string; revision?: number; [field: string]: unknown };
  /** Nothing else of the room is handled before it has succeeded. */
  resync: RoomResync;
}

interface RoomListeners {
  state: RoomState;
  /** Who is typing now, but for the user themselves. */
  typing: string[];
}

/** `signal` is aborted when nobody waits for the handler any more. */
type RoomHandler<T> = (value: T, context: { signal: AbortSignal }) => unknown;

export interface SendOptions {
  /** What the message is called: said again under the same name, it is written once. Made up if absent. */
  clientId?: string;
  messageType?: 'text' | 'image' | 'file';
  metadata?: Record<string, unknown>;
  parentId?: string;
  /** Uploads, by their ids. */
  attachments?: string[];
}

export interface Sent {
  messageId: string;
  seq: number;
  /** ISO 8601, in UTC. */
  createdAt: string;
}

export interface PageOptions {
  /** The id of a message: those before it, the newest page first. */
  before?: string;
  /** The id of a message: those after it, in order. */
  after?: string;
  /** Of one page. */
  limit?: number;
  signal?: AbortSignal;
}

export interface Room {
  readonly id: string;
  readonly state: RoomState['state'];
  /** The last message that was handled and stored. */
  readonly seq: number | null;
  /** The last change that was handled and stored. */
  readonly revision: number | null;
  on<K extends keyof RoomHandlers>(type: K, handler: RoomHandler<RoomHandlers[K]>): () => void;
  on<K extends keyof RoomListeners>(type: K, listener: (value: RoomListeners[K]) => void): () => void;
  /**
   * Writes a message, after those before it. Resolves when it is committed. Rejects with a `FanlightError`: the server's
   * code, or `queue_full`, `timeout` (it may have been written: send it again with the same `clientId`), or why the room
   * has ended.
   */
  send(content: string, options?: SendOptions): Promise<Sent>;
  /** To be called with each key; said at most every three seconds. `send` ends it. */
  typing(isTyping: boolean): void;
  /** The messages by REST, page by page, each in the order in which it was written. */
  pages(options?: PageOptions): AsyncGenerator<Message[], void, void>;
  leave(): void;
}
