// @anthropic-ai/sdk, newest 1.x, against the simulated API.
import Anthropic, { toFile } from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';
import { serveTasks } from './simapi.mjs';

await serveTasks({ Anthropic, betaTool, toFile });
