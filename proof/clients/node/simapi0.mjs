// @anthropic-ai/sdk, newest 0.x, against the simulated API.
import Anthropic, { toFile } from 'anthropic-sdk-0';
import { betaTool } from 'anthropic-sdk-0/helpers/beta/json-schema';
import { serveTasks } from './simapi.mjs';

await serveTasks({ Anthropic, betaTool, toFile });
