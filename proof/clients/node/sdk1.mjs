// @anthropic-ai/sdk, newest 1.x.
import Anthropic from '@anthropic-ai/sdk';
import { serveOfficial } from './official.mjs';

await serveOfficial(Anthropic);
